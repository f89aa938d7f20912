"""Questions to a finished sweep: statistics, importance, comparisons, files.

Imports the rooms below, up to store.
"""
