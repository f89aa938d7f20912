"""Any Python function as the objective: callables, ask and tell, Optuna.

Imports common, space, engine, running and results. `old_names` has modules that have moved.
"""
