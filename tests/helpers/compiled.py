"""Plain functions compiled as they are, so that tests can call one without the loops around it."""

from fastopt.compile import kernel
from sweeps.tracing.minibatches import call_template

__all__ = ["both", "call_template"]


def both(function):
    """Return the plain function and the same one compiled."""
    return {"python": function, "compiled": kernel(call_template, function)}
