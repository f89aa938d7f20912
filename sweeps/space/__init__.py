"""Axes in, trials out: grids, distributions and designs, decoded from trial numbers.

Imports common.
"""
