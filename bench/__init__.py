"""Benchmarks: each writes its figures, with command, machine, versions and date, to bench/results."""
