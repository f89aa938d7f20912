"""One trial step by step: its trace, its walk, and what is wrong with it.

Imports common, space, problems, engine, running and analysis.
"""
