"""Encoders that need no modality: what goes around any other encoder."""
