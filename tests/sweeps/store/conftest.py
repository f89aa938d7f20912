"""A store of small chunks, and the sweep that it holds in the end if nothing goes wrong."""

from __future__ import annotations

import pytest

from sweeps.engine import chunks
from sweeps.store import folder
from tests.helpers.stores import run, same_frames


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "MOST_TRIALS", 4)
    monkeypatch.setattr(folder, "provenance", dict)  # runs git, which takes most of the time


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "provenance", dict)
        result = run(tmp_path_factory.mktemp("uninterrupted") / "store", curves=True)
    same_frames(result.to_frame(), run(curves=True).to_frame())
    return result
