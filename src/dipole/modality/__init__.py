"""What knows a kind of data: text today, images and others beside it."""
