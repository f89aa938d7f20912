"""The progress of a stored sweep, read from the names and footers of its files alone."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from sweeps.common.resources import used_disk
from sweeps.common.states import STATES, State
from sweeps.store.arrays import read_part_facts
from sweeps.store.documents import StoredSweep, read_facts
from sweeps.store.folder import BAD, FACTS, ROWS, Folder


def status(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Say how far a stored sweep is.

    ``path``: the store. A sweep may be running in it. Returns ``store``; ``problem``, ``metric``,
    ``mode``; ``trials`` and ``finished``; ``states`` by name; ``chunks`` and ``chunks_done``;
    ``parts``; ``sweeps`` (1, and 1 more for each extension); ``core_seconds`` and ``hosts`` of
    those who ran chunks; ``bytes``; ``bad`` (names of what was set aside); ``provenance``. Of
    extended sweeps, the newest. Of a pruned sweep, whose ``chunks`` are not known before its end
    and None, also ``pruner`` and ``rungs``, those that have begun: ``bracket``, ``rung``,
    ``n_resources``, ``trials`` and ``finished``, how many of these are through. Who is PRUNED by a
    pruner of one's own, which cannot be asked here, is not told. Raises StoreError if the folder is
    missing, holds no sweep or is damaged.
    """
    folder = Folder(path)
    stored = folder.newest_sweep()
    identity = stored.identity
    parts = folder.list_parts(ROWS, stored)
    bad = folder.path / BAD
    return {
        "store": str(folder.path),
        "problem": identity["problem"]["name"],
        "metric": identity["options"]["metric"],
        "mode": identity["options"]["mode"],
        "trials": identity["trials"],
        **(_finished if stored.pruner is None else _pruned)(folder, stored),
        "chunks_done": sum(part.count for part in parts),
        "parts": len(parts),
        "sweeps": len(folder.sweeps()),
        **_run_facts(folder, stored),
        "bytes": used_disk(folder.path),
        "bad": sorted(file.name for file in bad.iterdir()) if bad.is_dir() else [],
        "provenance": stored.provenance,
    }


def _finished(folder: Folder, stored: StoredSweep) -> dict[str, Any]:
    parts = folder.list_parts(ROWS, stored)
    said = [read_part_facts(folder.path / ROWS / str(part)) for part in parts]
    states = np.array([each.states for each in said], int).reshape(-1, len(STATES)).sum(axis=0)
    return {
        "finished": int(states.sum()),
        "states": dict(zip(STATES, states.tolist())),
        "chunks": stored.chunks,
    }


def _pruned(folder: Folder, stored: StoredSweep) -> dict[str, Any]:
    """Return the trials that have ended or been pruned, and the rungs that have begun."""
    # Decisions are made again from the rows, which takes Numba and pandas; others do without.
    from sweeps.store.identity import restore_space
    from sweeps.store.reader import StoredColumns
    from sweeps.store.replay import is_known

    if not is_known(stored):
        states = _finished(folder, stored)["states"] | {State.PRUNED.name: 0}
        said = {"finished": sum(states.values()), "states": states, "chunks": None}
        return {**said, "pruner": stored.pruner, "rungs": []}
    held = StoredColumns(folder, stored, restore_space(stored.identity["space"]))
    rungs = [
        {
            "bracket": round_.bracket,
            "rung": round_.rung,
            "n_resources": round_.n_resources,
            "trials": len(round_.trials),
            "finished": through,
        }
        for round_, through in held.rounds
    ]
    return {
        "finished": held.height,
        "states": dict(zip(STATES, held.states.tolist())),
        "chunks": None,
        "pruner": stored.pruner,
        "rungs": rungs,
    }


def _run_facts(folder: Folder, stored: StoredSweep) -> dict[str, Any]:
    """Add up the facts of all runs."""
    paths = sorted((folder.path / FACTS).glob("*.jsonl"))
    runs = [run for path in paths for run in read_facts(path, stored.name)]
    return {
        "core_seconds": sum((seconds for seconds, _ in runs), 0.0),
        "hosts": sorted({host for _, host in runs}),
    }
