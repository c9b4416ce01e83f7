"""Losses with a softmax normaliser."""
