"""Benchmarks: each is run by `make bench NAME=...` and prints its figures, the last line as one JSON object."""
