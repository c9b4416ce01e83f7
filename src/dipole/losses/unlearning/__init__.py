"""Losses that take out of a model what it learned."""
