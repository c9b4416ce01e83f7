"""What moves vectors that are already there: nothing here trains an encoder."""
