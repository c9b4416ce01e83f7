"""Rows of points."""
