"""Which language a text is in: by script, then by small words, letters and endings. No model, nothing fetched."""
