"""Rows: data sets that need no modality, read from files."""
