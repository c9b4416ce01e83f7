"""Clouds of points in space: rows, and an autoencoder of masked parts. torch alone."""
