"""Read TOML files that anybody may have written, or refuse them and name the line."""

from __future__ import annotations

import json
import os
import re
import tomllib
from typing import Any

from fastopt.errors import SpecError

MOST_BYTES = 1 << 26
"""Bytes of a file that are read: a million values of an axis, written out, take 20 MB."""

LEVELS = 64
"""Brackets inside brackets; Python's parser gives up at some 300."""

LONG_NUMBER = re.compile(r"\d[\d_]{4300}")
"""An integer that Python refuses to read, since that takes time of order n squared."""


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a TOML file.

    ``path``: UTF-8, with or without the mark that editors of Windows begin a file with.
    """
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except RecursionError:
        line = _deepest(text)
        what = f"lists or tables are nested more than {LEVELS} levels deep; a spec needs four"
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path}: is not TOML: {error}") from None
    except ValueError:
        found = LONG_NUMBER.search(text)
        line = text[: found.start() if found else 0].count("\n") + 1
        what = "there is an integer of more than 4 300 digits; all that are allowed have 19 at most"
    raise SpecError(f"{path}: line {line}: {what}")


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a file, which :func:`read_toml` parses."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise SpecError(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})"
        ) from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > MOST_BYTES:
        raise SpecError(f"{path}: has more than {MOST_BYTES:,} bytes; is it a spec?")
    return text


def quoted(value: Any) -> str:
    r"""Return a text or a list of texts as TOML has them: as JSON, but for one character.

    >>> print(quoted('a "b"'), quoted(["é"]))
    "a \"b\"" ["é"]
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _deepest(text: str) -> int:
    r"""Return the first line on which so many brackets are open that it is no spec.

    >>> _deepest("[space]\nlr = " + 100 * "[" + 100 * "]")
    2
    """
    depth = 0
    for k, line in enumerate(text.splitlines(), 1):
        depth += sum(map(line.count, "[{"))
        if depth > LEVELS:
            return k
        depth -= sum(map(line.count, "]}"))
    return 1
