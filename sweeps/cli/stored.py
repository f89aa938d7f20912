"""Stored sweeps with their specs: a copy that is kept beside them, and the sweep opened with it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastopt.errors import SpecError
from sweeps import store as stores
from sweeps.cli.spec import Spec, read_spec
from sweeps.cli.toml import quoted, read_text, read_toml
from sweeps.problems.arrays import numbers_of
from sweeps.results import SweepResult
from sweeps.store import holds_sweep, keep_file

COPY = "spec.toml"
"""The spec of a store's sweep, in its folder."""

FOLDER = re.compile(r"^\s*folder\s*=.*\n", re.MULTILINE)


def keep_spec(spec: str | os.PathLike[str], store: str | os.PathLike[str]) -> None:
    r"""Put a copy of a spec into the folder of its store.

    Its first line says what the paths in it are relative to, seen from the store, so that store and
    data may move together.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     spec = Path(folder, "wine.toml")
    ...     _ = spec.write_text('[data]\nfile = "wine.csv"\n')
    ...     keep_spec(spec, Path(folder, "runs", "wine"))
    ...     print(Path(folder, "runs", "wine", COPY).read_text())
    folder = "../.."  # paths below are relative to this one
    [data]
    file = "wine.csv"
    <BLANKLINE>
    """
    text = read_text(spec)
    there = Path(spec).absolute().parent / read_toml(spec).get("folder", "")
    try:
        seen = os.path.relpath(there, Path(store).absolute())
    except ValueError:  # on another drive
        seen = str(there)
    head, table, rest = text.partition("[")
    told = f"folder = {quoted(Path(seen).as_posix())}  # paths below are relative to this one\n"
    keep_file(store, COPY, (told + FOLDER.sub("", head) + table + rest).encode())


def open_with_spec(store: str | os.PathLike[str], spec: Path | None = None) -> tuple[Any, Spec]:
    """Open a stored sweep that can run its trials again, and return its spec, too.

    ``spec``: where the store has no copy. Raises SpecError if data, spec or code are not those of
    the sweep.
    """
    folder = Path(store)
    if not holds_sweep(folder):
        SweepResult.open(folder)  # says what is wrong with it
    if spec is None and not (folder / COPY).is_file():
        raise SpecError(
            f"{folder} keeps no {COPY}, so what its trials were trained on is not known here: its "
            "sweep was run from Python. Name its spec, if it has one: --spec FILE.toml; in Python, "
            "the same sweep(..., store=...) again returns a result whose model() works"
        )
    checked = read_spec(spec or folder / COPY)
    plan = checked.plan()
    try:
        return SweepResult(*stores.reopen_result_parts(plan, folder)), checked
    except SpecError as error:
        raise SpecError(f"{checked.source}: {error}") from None


class Judgement(NamedTuple):
    """What test rows say of a model.

    * ``rows``: how many there are.
    * ``score``: accuracy or R2 of the model.
    * ``rmse``: root of the mean squared error of one target, in its units; None of others.
    * ``weighted``: whether they count by their weights.
    * ``usual``: the class that most of the other rows have, and the accuracy of saying it always.
    """

    rows: int
    score: float
    rmse: float | None
    weighted: bool
    usual: tuple[Any, float] | None


def score_on_test(model: Any, problem: Any, seed: int | None) -> Judgement | None:
    """Return what the test rows of a problem say of a model; None if there are none.

    ``seed``: of the split, if the trial had one of its own.
    """
    source = problem.recipe.source()
    rows = source.splits(seed).test
    if not len(rows):
        return None
    X = source.X.iloc[rows] if hasattr(source.X, "iloc") else source.X[rows]
    y = source.y[rows] if source.classes is None else source.classes[source.y[rows]]
    weights = None if source.weights is None else source.weights[rows]
    figures = model.score(X, y, weights), rmse_of(model, X, y, weights)
    return Judgement(len(rows), *figures, weights is not None, _usual_class(source, rows))


def rmse_of(model: Any, X: Any, y: Any, weights: np.ndarray | None) -> float | None:
    """Return the root of the mean squared error of one target, in its units; None of others."""
    if model.is_classifier or model.network.sizes[-1] > 1:
        return None
    off = numbers_of("y", y).ravel() - model.predict(X).astype(np.float64)
    return float(np.sqrt(np.average(off**2, weights=weights)))


def _usual_class(source: Any, rows: np.ndarray) -> tuple[Any, float] | None:
    """Return the class of most rows but these, and the share that it has of these."""
    if source.classes is None:
        return None
    weights = np.ones(len(source.y)) if source.weights is None else source.weights
    k = int(np.bincount(np.delete(source.y, rows), np.delete(weights, rows)).argmax())
    share = float(np.average(source.y[rows] == k, weights=weights[rows]))
    return source.classes.tolist()[k], share
