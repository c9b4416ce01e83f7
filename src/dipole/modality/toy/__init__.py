"""A toy language: tiny rows and a tiny encoder, for tests and first steps without any model."""
