"""Sweeps kept in a folder: nothing is lost, whatever stops them.

Imports common, space, engine and running. The functions here are its door, which pyarrow waits
behind: that takes 0.07 s to import, and most sweeps are not kept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from sweeps.engine.plan import Plan
from sweeps.engine.tables import Parts
from sweeps.running.collect import Collector

__all__ = ["keeper_of", "open_store", "settings_in"]


def keeper_of(plan: Plan, path: str | os.PathLike[str], shard: tuple[int, int]) -> Collector:
    """Return where the rows of a stored sweep go: see :class:`sweeps.store.writer.Keeper`."""
    from sweeps.store.writer import Keeper

    return Keeper(plan, path, shard)


def open_store(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, filters: Any = None
) -> Parts:
    """Return the parts of the result in a folder: see :meth:`sweeps.SweepResult.open`."""
    from sweeps.store.reader import open_parts

    return open_parts(path, columns, filters)


def settings_in(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the keywords and options of the sweep in a folder."""
    from sweeps.store.folder import Folder

    identity = Folder(path).the_sweep().identity
    return {**identity["keywords"], **identity["options"]}
