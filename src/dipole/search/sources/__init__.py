"""Documents out of files as they are found: one module a format, each a function ``read(path) -> Iterator[Document | Refused]``."""
