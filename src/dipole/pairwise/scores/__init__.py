"""What s(q, k) is. One class a module; a recipe's ``score = { use = "cosine" }`` is ``cosine.py``."""
