"""What several commands take, and the check of a file to write: before hours of work, not after."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from fastopt.errors import StoreError
from sweeps.common.resources import check_path

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Store = Annotated[Path, typer.Argument(help="Folder that was given as --store.")]

PICTURES = (".png", ".svg", ".pdf")
"""The kinds of pictures that the commands draw."""


def file_to_write(*suffixes: str) -> Callable[[Path | None], Path | None]:
    """Return a callback that refuses a path that no file of these kinds can be written to.

    >>> file_to_write(".csv")(Path("trials.csv"))
    PosixPath('trials.csv')
    """

    def checked(path: Path | None) -> Path | None:
        if path is None:
            return None
        try:
            check_path(path)
        except StoreError as error:
            raise typer.BadParameter(str(error)) from None
        folder = path.absolute().parent
        if path.suffix not in suffixes:
            raise typer.BadParameter(f"must end in {' or '.join(suffixes)}; got {str(path)!r}")
        if path.is_dir():
            raise typer.BadParameter(f"{str(path)!r} is a folder; name a file in it")
        if not folder.is_dir():
            raise typer.BadParameter(f"there is no folder {str(folder)!r}; create it first")
        if not os.access(folder, os.W_OK):
            raise typer.BadParameter(f"the folder {str(folder)!r} is not writable")
        return path

    return checked
