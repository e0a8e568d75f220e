"""Benchmarks of Klyuch beside its peers: everything in one run, told as ratios."""
