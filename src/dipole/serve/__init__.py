"""A collection on the web: an API for programs and a page for people."""
