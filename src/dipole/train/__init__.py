"""Training: one step, one loop. Gradient caching, global batches, checkpoints, live diagnostics."""
