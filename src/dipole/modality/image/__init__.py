"""Images: rows, encoders, augmented views, and towers that meet texts. Needs the extra ``image``."""
