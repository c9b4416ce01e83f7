"""Losses over more than two views of an item."""
