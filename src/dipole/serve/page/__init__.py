"""What people see of a collection: lists by day, search, items, a map; rendered here, and usable without a script."""
