"""Reports for people: what a model's vectors and a training run look like, on the terminal, as JSON and as a page that opens offline."""
