"""Results in single files: their metadata and provenance, and reading them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastopt.doctor import facts
from fastopt.errors import SpecError
from sweeps.analysis.table import Table
from sweeps.common.frames import pd
from sweeps.common.names import STEP_COUNTS, check_choice
from sweeps.common.states import STATES
from sweeps.engine.tables import Parts
from sweeps.store import settings_in

METADATA_KEY = b"fastopt"
"""Key of a Parquet file's metadata: axes, metric, mode and provenance."""

VOLATILE = ("seconds", "compile_seconds", "compiled", "trials_per_second", "reused")
"""Facts of one run of a sweep, not of its results."""

FACTS = ("fastopt", "numpy", "numba", "scipy", "pandas", "Python", "system", "CPU", "cores", "BLAS")


def is_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path names one file, there or not, and not the folder of a store.

    >>> is_file("digits.parquet"), is_file("runs/digits")
    (True, False)
    """
    path = Path(path)
    return path.is_file() or (path.suffix == ".parquet" and not path.is_dir())


def metadata_of(result: Table) -> dict[bytes, bytes]:
    """Return the metadata for a Parquet file of a result."""
    plain = (str, int, float, bool)
    info = {name: value for name, value in result.info.items() if isinstance(value, plain)}
    if info.pop("store", None):  # a place on this machine
        # Exports of a stored sweep are the same to the last byte, however often it was stopped.
        info = {name: value for name, value in info.items() if name not in VOLATILE}
    note = {
        "axes": list(result.axes),
        "metric": result.metric,
        "mode": result.mode,
        "counts": list(result.step_columns),
        "info": {**info, "provenance": provenance(result)},
    }
    return {METADATA_KEY: json.dumps(note).encode()}


def open_file(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, filters: Any = None
) -> Parts:
    """Read a Parquet file that :meth:`SweepResult.save` wrote: see :meth:`SweepResult.open`.

    The result has no curves, space and plan: it can be looked at, plotted and reported on.

    >>> import tempfile
    >>> from sweeps import SweepResult, problems, sweep
    >>> result = sweep(problems.ellipse(), {"lr": [0.1, 0.01]}, optimizer="adam", steps=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = SweepResult.open(result.save(Path(folder, "bowl.parquet")))
    >>> again.axes, again.best_params_ == result.best_params_
    (('lr',), True)
    """
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.is_file():
        raise SpecError(f"{path}: there is no such file")
    if path.suffix != ".parquet":
        raise SpecError(f"{path}: a result is read from the .parquet file that it was saved to")
    try:
        schema = pq.read_schema(path)
        said = (schema.metadata or {}).get(METADATA_KEY)
        note = json.loads(said) if said else None
        names = _columns_to_read(schema.names, columns, note)
        frame = pd.read_parquet(
            path, columns=names, filters=filters, page_checksum_verification=True
        )
    except SpecError:
        raise
    # pyarrow's errors are among these; RecursionError: metadata that we did not write.
    except (ValueError, TypeError, KeyError, OSError, RecursionError) as error:
        raise SpecError(f"{path}: cannot be read as Parquet ({error})") from None
    if note is None:
        raise SpecError(
            f"{path}: does not say which columns are axes; save it again with result.save(...) or "
            "fastopt sweep SPEC --out FILE.parquet"
        )
    counts = note.get("counts", STEP_COUNTS)  # files of older versions do not say
    cells = {name: _cells(name, frame[name], name in counts) for name in frame.columns}
    return Parts(cells, None, note["metric"], note["mode"], note["info"], counts=counts)


def _columns_to_read(
    there: list[str], columns: Sequence[str] | None, note: Any
) -> list[str] | None:
    """Return the columns to read, in the order of the file; those that rank trials always are."""
    if columns is None or note is None:
        return None
    for name in columns:
        check_choice("column", name, there)
    needed = {"trial_id", "state", note["metric"], *columns}
    return [name for name in there if name in needed]


def provenance(result: Table) -> dict[str, str]:
    """Return what a reader needs to run a sweep again: its spec, versions and the machine.

    Of a result that was read from a file, these are the facts at the time it was saved.
    """
    known = result.info.get("provenance")
    if known:
        return dict(known)
    spec = {"problem": result.info.get("problem", "unknown"), **_settings(result)}
    spec = {name: value for name, value in spec.items() if name not in result.axes}
    if result.space is not None:
        spec["space"] = result.space
        spec |= {f"axis {name}": _axis_text(result.space, name) for name in result.axes}
    machine = facts()
    return {
        **{name: _text(value) for name, value in spec.items() if value not in (None, (), [])},
        **{name: machine[name] for name in FACTS},
    }


def _text(value: Any) -> str:
    """Return a setting as text, the same for lists and tuples: a store has lists only."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _settings(result: Table) -> dict[str, Any]:
    """Return the problem and the options of the sweep, as far as they are known."""
    if result.plan is not None:
        options = dict(vars(result.plan.options))
        return {"problem": result.plan.problem, **options.pop("defaults"), **options}
    if "store" in result.info:
        return settings_in(result.info["store"])
    return {}


def _axis_text(space: Any, name: str) -> str:
    axes = dict.fromkeys(repr(part[name]) for part in space.parts if name in part)
    text = " + ".join(axes)
    return text if len(text) <= 300 else f"{text[:297]}..."


def _cells(name: str, column: pd.Series, counts: bool) -> np.ndarray:
    """Return a column as a result holds it: states as numbers, gaps as None or below zero."""
    if name == "state":
        return column.map(STATES.index).to_numpy(np.int8)
    if counts:
        return column.fillna(-1).to_numpy(np.int64)
    if isinstance(column.dtype, np.dtype) and column.dtype != object:
        return column.to_numpy()
    cells = column.astype(object).to_numpy(copy=True)
    cells[pd.isna(cells)] = None
    return cells
