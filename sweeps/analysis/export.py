"""Write a result to one file, in pieces, so that a store of any size takes little memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastopt.checkpoint import check_folder_of
from fastopt.errors import SpecError, shortened
from sweeps.analysis.files import metadata_of
from sweeps.analysis.table import Table


def write(result: Table, path: Path) -> Path:
    """Write all trials to a ``.parquet`` or ``.csv`` file: see :meth:`sweeps.SweepResult.save`."""
    if path.suffix not in SUFFIXES:
        raise SpecError(f"a result is saved as {' or '.join(SUFFIXES)}; got {shortened(str(path))}")
    with draft_of(path) as draft:
        SUFFIXES[path.suffix](result, draft)
    return path


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Yield the path of a draft, which is renamed to ``path`` if nothing was raised."""
    check_folder_of(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _write_csv(result: Table, path: Path) -> None:
    for k, frame in enumerate(result.frames()):
        frame.to_csv(path, index=False, header=k == 0, mode="a" if k else "w")


def _write_parquet(result: Table, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    frames = result.frames()
    first = pa.Table.from_pandas(next(frames), preserve_index=False)
    said = first.schema.with_metadata({**first.schema.metadata, **metadata_of(result)})
    with pq.ParquetWriter(path, said, write_page_checksum=True) as file:
        file.write_table(first)
        for frame in frames:
            file.write_table(pa.Table.from_pandas(frame, first.schema, preserve_index=False))


SUFFIXES = {".parquet": _write_parquet, ".csv": _write_csv}
"""Suffix of a file -> the function that saves a result as such a file."""
