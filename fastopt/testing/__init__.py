"""Checks that every optimizer of ours passes, for optimizers of your own.

Imports any room below; :mod:`fastopt.torch` only where torch is installed.
"""

from __future__ import annotations

import numpy as np

from fastopt.optimizer import Optimizer
from fastopt.rules import Rule
from fastopt.testing.checks import CHECKS
from fastopt.testing.subject import Subject, subject_of

__all__ = ["check_optimizer"]


def check_optimizer(rule_or_class: Rule | type[Optimizer]) -> list[str]:
    """Check that an optimizer of your own keeps what all of ours promise.

    Parameters
    ----------
    rule_or_class : Rule or type
        A row as in :data:`fastopt.rules.RULES`, in the table or not, or a class over arrays.
        Meanwhile a rule stands in the table under its name.

    Returns
    -------
    list of str
        The checks that it has passed. A rule that is in no table cannot be pickled by name, and
        rules with sums over the tensor have no elements that go their own ways: such checks are
        left out, as are those of torch where it is not installed.

    Raises
    ------
    AssertionError
        A check fails; the message begins with its name.

    Notes
    -----
    The checks compile the rule in float32 and float64: some seconds, the first time.

    Examples
    --------
    >>> import fastopt
    >>> passed = check_optimizer(fastopt.SGD)
    >>> "writes in place" in passed, "threads change no bit" in passed
    (True, True)
    """
    with subject_of(rule_or_class) as subject, np.errstate(all="ignore"):
        return [name for name in CHECKS if _passes(name, subject)]


def _passes(name: str, subject: Subject) -> bool:
    """Run a check; return False if it does not concern this optimizer."""
    try:
        return CHECKS[name](subject) is not False
    except Exception as error:
        raise AssertionError(f"{name}: {subject.rule.name}: {error}") from error
