"""Losses in which a positive must beat negatives by a margin."""
