"""Sweeps kept in a folder: nothing is lost, whatever stops them.

Imports common, space, engine, running and pruning. What writes and reads stores is imported when it
is first asked for, since it imports pyarrow: that takes 0.07 s, and most sweeps are not stored.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fastopt.errors import StoredSpecError, StoreError
from fastopt.late import late_names
from sweeps.common.resources import check_path
from sweeps.store import fs

if TYPE_CHECKING:
    from sweeps.store.folds import FoldWriter
    from sweeps.store.reader import open_result_parts, reopen_result_parts
    from sweeps.store.reuse import values_so_far
    from sweeps.store.rounds import StoredRounds
    from sweeps.store.writer import StoreWriter
else:
    __getattr__, __dir__ = late_names(__name__)

__all__ = [
    "FoldWriter", "StoreWriter", "StoredRounds", "holds_sweep", "keep_file", "open_result_parts",
    "reopen_result_parts", "settings_in", "values_so_far",
]  # fmt: skip


def holds_sweep(path: str | os.PathLike[str]) -> bool:
    """Tell whether a folder is there that a sweep is kept in."""
    from sweeps.store.folder import Folder

    try:
        return bool(Folder(path).sweeps())
    except StoredSpecError:  # it does, though its description is damaged
        return True
    except StoreError:
        return False


def keep_file(path: str | os.PathLike[str], name: str, data: bytes) -> None:
    """Put a file into the folder of a store, whole or not at all; the folder is made if need be."""
    folder = check_path(path)
    fs.make_folder(folder)
    fs.publish(folder / name, data)


def settings_in(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the keywords and options of the sweep in a folder."""
    from sweeps.store.folder import Folder

    identity = Folder(path).newest_sweep().identity
    return {**identity["keywords"], **identity["options"]}
