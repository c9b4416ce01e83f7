"""Search: collections of texts and vectors on disk, answered exactly by the pairwise engine."""
