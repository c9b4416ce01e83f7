"""Losses on the geometry of the embedding."""
