"""Plain functions compiled as they are, so that tests can call one without the loops around it."""

from fastopt.compile import kernel


def calling(function):
    """Template of a kernel that only calls ``function``."""

    def run(*args):
        return function(*args)

    return run


def both(function):
    """Return the plain function and the same one compiled."""
    return {"python": function, "compiled": kernel(calling, function)}
