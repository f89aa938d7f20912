"""From groups of parameters to kernel calls: batches, segments, the transaction of a step.

Imports the rooms below: machine, rules, arena and norms.
"""
