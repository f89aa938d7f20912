"""What knows of LLVM, addresses and threads: arrays as kernels see them, loops, lookups, launches.

Imports errors, code, compile and rules.
"""
