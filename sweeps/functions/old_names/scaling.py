"""The old name of :mod:`sweeps.running.scaling`, for one more minor release."""

import warnings

from sweeps.running.scaling import Scale, at_scale

__all__ = ["Scale", "at_scale"]

warnings.warn("sweeps.scaling is sweeps.running.scaling now", DeprecationWarning, stacklevel=2)
