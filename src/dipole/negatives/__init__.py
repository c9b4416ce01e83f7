"""Negatives beyond the batch: queues, noise, mixtures, centroids, mined ones; and what takes some of them away again."""
