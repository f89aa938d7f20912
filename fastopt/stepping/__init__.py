"""From groups of parameters to kernel calls: batches, segments, the transaction of a step.

Imports errors, code, compile, rules, schedules, machine, arena and norms.
"""
