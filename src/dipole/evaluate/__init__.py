"""Evaluation: retrieval, similarity, bootstrap intervals."""
