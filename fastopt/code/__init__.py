"""Which code runs: fingerprints of functions, frozen copies, and the checked disk cache.

Imports late and errors.
"""
