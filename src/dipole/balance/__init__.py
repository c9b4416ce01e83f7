"""Balances: how several terms are weighed against each other as training goes on. A slot of its own in recipes."""
