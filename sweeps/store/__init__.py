"""Sweeps kept in a folder: nothing is lost, whatever stops them.

Imports common, space, engine and running. The functions here import its modules when they are
called, since these import pyarrow: that takes 0.07 s, and most sweeps are not stored.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from sweeps.engine.plan import Plan
from sweeps.engine.tables import Parts
from sweeps.running.collect import Collector

__all__ = ["open_store", "settings_in", "store_writer"]


def store_writer(plan: Plan, path: str | os.PathLike[str], shard: tuple[int, int]) -> Collector:
    """Return a collector that stores rows: see :class:`sweeps.store.writer.StoreWriter`."""
    from sweeps.store.writer import StoreWriter

    return StoreWriter(plan, path, shard)


def open_store(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, filters: Any = None
) -> Parts:
    """Return the parts of the result in a folder: see :meth:`sweeps.SweepResult.open`."""
    from sweeps.store.reader import open_result_parts

    return open_result_parts(path, columns, filters)


def settings_in(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the keywords and options of the sweep in a folder."""
    from sweeps.store.folder import Folder

    identity = Folder(path).newest_sweep().identity
    return {**identity["keywords"], **identity["options"]}
