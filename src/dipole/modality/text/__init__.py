"""Text: encoders, rows and the models by name. Needs the extra ``text``."""
