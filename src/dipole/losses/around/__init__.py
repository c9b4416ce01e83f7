"""Losses around a loss: which entries it sees, how much each counts, who asks. See decisions/0003."""
