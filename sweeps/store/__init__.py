"""Sweeps kept in a folder: nothing is lost, whatever stops them.

Imports common, space, engine, running and pruning. The functions here import its modules when they
are called, since these import pyarrow: that takes 0.07 s, and most sweeps are not stored.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastopt.errors import StoredSpecError, StoreError
from sweeps.common.resources import check_path
from sweeps.store import fs

if TYPE_CHECKING:
    from sweeps.engine.plan import Plan
    from sweeps.engine.tables import Parts
    from sweeps.pruning import Pruner
    from sweeps.pruning.race import Ledger
    from sweeps.running.collect import Collector
    from sweeps.running.reducers import Reducer

__all__ = [
    "fold_writer", "holds_sweep", "keep_file", "open_store", "reopen_store", "settings_in",
    "store_writer", "stored_rounds",
]  # fmt: skip


def store_writer(plan: Plan, path: str | os.PathLike[str], shard: tuple[int, int]) -> Collector:
    """Return a collector that stores rows: see :class:`sweeps.store.writer.StoreWriter`."""
    from sweeps.store.writer import StoreWriter

    return StoreWriter(plan, path, shard)


def stored_rounds(
    plan: Plan, path: str | os.PathLike[str], pruner: Pruner, max_resources: int
) -> Ledger:
    """Return a ledger that stores rows: see :class:`sweeps.store.rounds.StoredRounds`."""
    from sweeps.store.rounds import StoredRounds

    return StoredRounds(plan, path, pruner, max_resources)


def fold_writer(
    plan: Plan, reducer: Reducer[Any], path: str | os.PathLike[str], shard: tuple[int, int]
) -> Collector:
    """Return a collector that stores summaries: see :class:`sweeps.store.folds.FoldWriter`."""
    from sweeps.store.folds import FoldWriter

    return FoldWriter(plan, reducer, path, shard)


def open_store(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, filters: Any = None
) -> Parts:
    """Return the parts of the result in a folder: see :meth:`sweeps.SweepResult.open`."""
    from sweeps.store.reader import open_result_parts

    return open_result_parts(path, columns, filters)


def reopen_store(plan: Plan, path: str | os.PathLike[str]) -> Parts:
    """Return the parts of the result of a plan: :func:`sweeps.store.reader.reopen_result_parts`."""
    from sweeps.store.reader import reopen_result_parts

    return reopen_result_parts(plan, path)


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
    """Put a file into the folder of a store, whole or not at all; the folder is made if need be.

    Raises StoreError if it cannot be written.
    """
    folder = check_path(path)
    fs.make_folder(folder)
    fs.publish(folder / name, data)


def settings_in(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the keywords and options of the sweep in a folder."""
    from sweeps.store.folder import Folder

    identity = Folder(path).newest_sweep().identity
    return {**identity["keywords"], **identity["options"]}
