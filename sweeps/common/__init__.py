"""What every room stands on: random numbers, limits, names, memory, interrupts, progress.

Imports nothing.
"""
