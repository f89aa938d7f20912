"""Plain functions compiled as they are, so that tests can call one without the loops around it."""

from fastopt.compile import kernel
from sweeps.tracing.minibatches import calling

__all__ = ["both", "calling"]


def both(function):
    """Return the plain function and the same one compiled."""
    return {"python": function, "compiled": kernel(calling, function)}
