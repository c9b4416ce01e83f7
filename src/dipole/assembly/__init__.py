"""From a recipe file to objects: find parts by name, check everything, build."""
