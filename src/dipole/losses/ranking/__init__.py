"""Losses that put candidates in the order a teacher or grades give."""
