"""Any Python function as the objective: callables, ask and tell, Optuna.

Imports everything but the command line.
"""
