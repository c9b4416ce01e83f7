"""The main job on real input, start to end: semantic code search over a folder of Python files."""
