"""Read a pruned sweep: play its rounds once more, as far as its stored rows go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from fastopt.errors import FastoptError, StoredSpecError
from sweeps.common.names import RUNG_COLUMNS
from sweeps.common.states import State
from sweeps.pruning import Pruner, Round, as_pruner
from sweeps.pruning.base import MOST_TRIALS, losses_of, next_round
from sweeps.pruning.folded import over_folds
from sweeps.space.space import Space
from sweeps.store.documents import StoredSweep

BY_STEP = [("trial_id", "ascending"), ("step", "ascending")]
"""How the points of curves are sorted."""


class Replay(NamedTuple):
    """What the rows of a store come to.

    ``rounds`` are those that have begun, each with the number of its trials that are through;
    ``last`` ``(m,)`` is the position of the last row of each trial that has ended or been pruned,
    in the order of the trials.
    """

    rounds: list[tuple[Round, int]]
    last: np.ndarray


def replay(
    stored: StoredSweep, space: Space, cells: Mapping[str, np.ndarray], metric: np.ndarray
) -> Replay:
    """Play the rounds of a pruned sweep once more, as far as its rows go.

    ``cells`` (n,): ``trial_id``, ``state``, ``bracket`` and ``rung`` of all rows. Raises
    StoredSpecError if the pruner is not one of ours.
    """
    n, ids = stored.identity["trials"], cells["trial_id"]
    pruner = _restore_pruner(stored)
    if "compared" in stored.identity:  # before, pruners compared trials of different folds
        pruner = over_folds(pruner, space)
    rounds = pruner.rounds(n, stored.identity["max_resources"])
    rows_of_rung = _by_rung(cells)
    at, state = np.full(n, -1), np.full(n, State.PENDING, np.int8)
    undecided, losses, played = np.empty(0, np.int64), None, []
    while (round_ := next_round(rounds, losses)) is not None:
        going = round_.trials[np.isin(state[round_.trials], (State.PENDING, State.PRUNED))]
        rows = rows_of_rung.get((round_.bracket, round_.rung), undecided)
        rows = rows[np.isin(ids[rows], going)]
        at[ids[rows]], state[ids[rows]] = rows, cells["state"][rows]
        missing = len(going) - len(rows)
        played.append((round_, len(round_.trials) - missing))
        if missing:
            undecided = round_.trials
            break
        values = metric[at[round_.trials]]
        losses = losses_of(state[round_.trials], values, stored.identity["options"]["mode"])
    known = state != State.PENDING
    known[undecided] &= state[undecided] != State.PRUNED
    return Replay(played, at[known])


def _by_rung(cells: Mapping[str, np.ndarray]) -> dict[tuple[int, int], np.ndarray]:
    """Return the positions of the rows of each rung, by its bracket and number."""
    bracket, rung = (cells[name] for name in RUNG_COLUMNS)
    order = np.lexsort((rung, bracket))
    places = np.stack([bracket, rung])[:, order]
    cuts = np.flatnonzero((np.diff(places) != 0).any(axis=0)) + 1
    groups = np.split(order, cuts) if len(order) else []
    return {(int(bracket[g[0]]), int(rung[g[0]])): g for g in groups}


def last_points(table: pa.Table, rows: Mapping[str, np.ndarray]) -> pa.Table:
    """Return the points of curves that belong to these rows, in the order of trials and steps.

    A trial has its points so far in the parts of each rung that it came to.
    """
    ids, owner = np.asarray(rows["trial_id"]), table["trial_id"].to_numpy()
    at = np.minimum(np.searchsorted(ids, owner), max(len(ids) - 1, 0))
    mine = ids[at] == owner if len(ids) else np.zeros(len(owner), bool)
    for name in RUNG_COLUMNS if len(ids) else ():
        mine &= np.asarray(rows[name])[at] == table[name].to_numpy()
    return table.filter(pa.array(mine)).sort_by(BY_STEP)


def is_known(stored: StoredSweep) -> bool:
    """Whether the pruner of a sweep is one of ours, which can be asked."""
    return "name" in (stored.pruner or {})


def _restore_pruner(stored: StoredSweep) -> Pruner:
    said = stored.pruner or {}
    if not is_known(stored):
        raise StoredSpecError(
            f"the store is of a sweep with a pruner of somebody's own, {said.get('kind')}: the "
            "same sweep(..., pruner=..., store=...) again returns its result"
        )
    if not stored.identity["trials"] <= MOST_TRIALS:
        raise StoredSpecError(f"no pruner compares {stored.identity['trials']:,} trials")
    try:
        return as_pruner(said)
    except FastoptError as error:
        raise StoredSpecError(f"the store describes no pruner: {error}") from None
