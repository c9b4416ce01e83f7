"""Vocabulary: types, protocols, part declaration, errors. Imports torch and nothing else."""
