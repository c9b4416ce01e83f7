"""Toy encoders."""
