"""The table of a finished sweep and the questions to it: statistics, importance, files.

Imports common, space, problems, engine, running and store.
"""
