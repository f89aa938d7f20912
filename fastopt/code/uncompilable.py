"""What Numba cannot compile, in two lines: where it stands, and what to do instead."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import linecache
import os
import re
import textwrap
from collections.abc import Iterator

from numba.core.errors import NumbaError, UnsupportedBytecodeError

from fastopt.errors import CompileError

_PLACE = re.compile(r"^\s*(?:During: .* at (.+) \((\d+)\)|File \"(.+)\", line (\d+):)\s*$", re.M)
_REASON = re.compile(
    r"^\s*(?:\w*Error: (?!Failed in )(.+)"
    r"|(Unknown attribute .+|Untyped global name .+|Cannot .+|The .+ not supported.*))$",
    re.M,
)
_PACKAGES = ("numba", "fastopt", "sweeps", "numpy")
# Numba's reasons hold types of objects, and addresses.
_LONGEST = 200


@contextlib.contextmanager
def in_two_lines() -> Iterator[None]:
    """Raise what Numba has to say as :func:`as_compile_error`."""
    try:
        yield
    except (NumbaError, UnsupportedBytecodeError) as error:
        raise as_compile_error(error) from error


def as_compile_error(error: Exception) -> CompileError:
    r"""Return Numba's error as one of ours.

    >>> text = "Failed in nopython mode pipeline\nUnknown attribute 'foo' of type float64"
    >>> print(as_compile_error(ValueError(text)))
    Numba cannot compile a function of the problem or rule: Unknown attribute 'foo' of type float64
    Write it with what Numba knows (...), or search by sweeps.sweep_callable...
    """
    text = str(error)
    found = [a or b for a, b in _REASON.findall(text)]
    found = found or [f"it does not know {call}" for call in re.findall(r">>> (.+)", text)]
    reason = found[-1] if found else text.splitlines()[0]
    what = _where(text) or "a function of the problem or rule"
    return CompileError(
        f"Numba cannot compile {what}: {textwrap.shorten(reason, _LONGEST, placeholder=' ...')}\n"
        "Write it with what Numba knows (arithmetic, loops, arrays, functions of math and numpy, "
        "plain or @njit helpers of your own), or search by sweeps.sweep_callable, which compiles "
        "nothing."
    )


def _where(text: str) -> str:
    """Return the first line of the user's that is complained of, and the function it is in."""
    for by_call, call_line, by_file, file_line in _PLACE.findall(text):
        file = os.path.abspath(by_call or by_file)
        if not file.startswith(_folders()):
            return _source_line(file, int(call_line or file_line))
    return ""


@functools.cache
def _folders() -> tuple[str, ...]:
    """Return where the packages lie: a user's own folder may have the name of one."""
    specs = filter(None, map(importlib.util.find_spec, _PACKAGES))
    return tuple(os.path.join(os.path.dirname(str(spec.origin)), "") for spec in specs)


def _source_line(file: str, line: int) -> str:
    source = linecache.getline(file, line).strip()
    above = (linecache.getline(file, k) for k in range(line, max(line - 200, 0), -1))
    names = (re.match(r"\s*def (\w+)", text) for text in above)
    name = next((match[1] for match in names if match), "a function")
    of = "" if "lambda" in source else f" of {name}"
    return f"`{source or '...'}`{of} ({os.path.basename(file)}, line {line})"
