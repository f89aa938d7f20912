"""How far a stored sweep is, from the names and footers of its files alone."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from sweeps.engine.tables import STATES
from sweeps.store.decode import opened
from sweeps.store.folder import BAD, FACTS, ROWS, Folder, Stored
from sweeps.store.parts import facts_of

__all__ = ["status"]


def status(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Say how far a stored sweep is.

    Parameters
    ----------
    path : path-like
        The store. A sweep may be running in it.

    Returns
    -------
    dict
        ``store``; ``problem``, ``metric``, ``mode``; ``trials`` and ``finished``; ``states`` by
        name; ``chunks`` and ``chunks_done``; ``parts``; ``sweeps`` (1, and 1 more for each
        extension); ``core_seconds`` and ``hosts`` of those who ran chunks; ``bytes``; ``bad``
        (names of what was set aside); ``provenance``. Of extended sweeps, the newest.

    Raises
    ------
    StoreError
        The folder is missing, holds no sweep or is damaged.
    """
    folder = Folder(path)
    stored = folder.the_sweep()
    identity = stored.identity
    parts = folder.listed(ROWS, stored.name)
    said = [facts_of(opened(folder.path / ROWS / str(part)).metadata) for part in parts]
    states = np.sum([np.zeros(len(STATES), int), *(each["states"] for each in said)], axis=0)
    bad = folder.path / BAD
    return {
        "store": str(folder.path),
        "problem": identity["problem"]["name"],
        "metric": identity["options"]["metric"],
        "mode": identity["options"]["mode"],
        "trials": identity["trials"],
        "finished": sum(each["rows"] for each in said),
        "states": dict(zip(STATES, states.tolist())),
        "chunks": -(-identity["trials"] // identity["chunk"]),
        "chunks_done": sum(part.count for part in parts),
        "parts": len(parts),
        "sweeps": len(folder.sweeps()),
        **_work(folder, stored),
        "bytes": sum(file.stat().st_size for file in folder.path.rglob("*") if file.is_file()),
        "bad": sorted(file.name for file in bad.iterdir()) if bad.is_dir() else [],
        "provenance": stored.provenance,
    }


def _work(folder: Folder, stored: Stored) -> dict[str, Any]:
    """Add up the facts of all runs; a line cut short by a crash is left out."""
    seconds, hosts = 0.0, set()
    for path in sorted((folder.path / FACTS).glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                facts = json.loads(line)
            except ValueError:
                continue
            if facts.get("sweep") == stored.name:
                seconds += facts.get("seconds", 0.0)
                hosts.add(facts.get("host", "unknown"))
    return {"core_seconds": seconds, "hosts": sorted(hosts)}
