"""Where chunks run and where their rows go: executors, workers, jobs, reducers, estimates.

Imports common, space, problems and engine.
"""
