"""The old name of :mod:`sweeps.functions.optuna`, for one more minor release."""

import warnings

from sweeps.functions.optuna import from_optuna, to_optuna

__all__ = ["from_optuna", "to_optuna"]

warnings.warn("sweeps.optuna is sweeps.functions.optuna now", DeprecationWarning, stacklevel=2)
