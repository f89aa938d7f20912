"""Benchmarks: pytest-benchmark files, paired ratios, and the tables made from them."""
