"""Toy rows."""
