"""Checks that every optimizer of ours passes, for optimizers of your own.

Imports any room below; :mod:`fastopt.torch` only where torch is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastopt.optimizer import Optimizer
from fastopt.rules import Rule
from fastopt.testing.checks import CHECKS
from fastopt.testing.subject import subject_of

__all__ = ["check_optimizer", "run_checks"]


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
        return run_checks(CHECKS, subject, subject.rule.name)


def run_checks(checks: Mapping[str, Callable[[Any], Any]], subject: Any, title: str) -> list[str]:
    """Run checks by name; return those passed, without those that return False: not concerned.

    >>> run_checks({"a": lambda number: False, "b": lambda number: None}, 3, "three")
    ['b']
    """
    passed = []
    for name, check in checks.items():
        try:
            if check(subject) is not False:
                passed.append(name)
        except Exception as error:
            raise AssertionError(f"{name}: {title}: {error}") from error
    return passed
