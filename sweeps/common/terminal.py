"""What commands say on a terminal: errors and warnings in one line each, and tables.

Imported by commands only: rich and typer take 0.1 s.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fastopt.errors import CacheWarning, ExecutorError, FastoptError, StoreError, SweepWarning
from sweeps.common.interrupt import INTERRUPTED

USAGE_ERROR = 2


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Print our own errors and warnings as one readable message each on stderr."""
    console = Console(stderr=True)
    try:
        with warnings.catch_warnings():
            for category in (SweepWarning, CacheWarning):
                warnings.simplefilter("always", category)
            warnings.showwarning = _warning_printer(console, warnings.showwarning)
            yield
    except ImportError as error:
        if "fastopt[" not in str(error):
            raise
        _print_message(console, "error", "red", error)
        raise typer.Exit(USAGE_ERROR) from None
    except (FastoptError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        _print_message(console, "error", "red", _words_of(error))
        outside = isinstance(error, StoreError | ExecutorError | OSError)
        raise typer.Exit(1 if outside else USAGE_ERROR) from None
    except KeyboardInterrupt:
        _print_message(console, "interrupted", "yellow", "nothing more was written")
        raise typer.Exit(INTERRUPTED) from None


def _words_of(error: Exception) -> str:
    """Return what an error says; that of the system without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _warning_printer(console: Console, usual: Any) -> Any:
    def show(message: Any, category: Any, *where: Any, **more: Any) -> None:
        if issubclass(category, SweepWarning | CacheWarning):
            _print_message(console, "warning", "yellow", message)
        else:
            usual(message, category, *where, **more)

    return show


def _print_message(console: Console, what: str, colour: str, message: object) -> None:
    # Messages hold [brackets] of their own, and a path must survive copying: no wrapping.
    console.print(f"[{colour}]{what}:[/{colour}]", end=" ")
    console.print(str(message), markup=False, highlight=False, soft_wrap=True)


def table(title: str, header: Iterable[str], rows: Iterable[Iterable[str]], gap: int = 1) -> Table:
    """Lay out rows of text below a header."""
    laid = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, gap, 0, 0))
    for name in header:
        laid.add_column(name, overflow="fold", vertical="top")
    for row in rows:
        laid.add_row(*row)
    return laid


def pair_table(title: str, facts: Mapping[str, str]) -> Table:
    """Lay out names and values in two columns."""
    laid = Table(title=title, show_header=False, title_justify="left")
    laid.add_column(style="bold", no_wrap=True)
    laid.add_column(overflow="fold")
    for name, value in facts.items():
        laid.add_row(name, value)
    return laid
