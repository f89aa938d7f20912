"""Trained models out of a sweep: their parameters, predictions, conversions and files.

Imports common, problems, engine, analysis and extend.
"""
