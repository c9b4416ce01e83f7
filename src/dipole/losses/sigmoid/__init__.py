"""Losses that judge each pair alone."""
