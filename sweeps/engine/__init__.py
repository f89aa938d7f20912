"""Compiled runners: problem x rule x schedule -> trials in parallel.

Imports common, space and problems.
"""
