"""Optimizer steps at C speed on a CPU, from plain Python."""
