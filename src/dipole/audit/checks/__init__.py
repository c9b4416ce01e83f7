"""One check a module: each sees all rows once, block by block, some rows a second time, and says what it found."""
