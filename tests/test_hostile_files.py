"""Files that somebody made to do harm: refused in our words, nothing run, little memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.helpers.needs import needs_fork, needs_limits

MB = 10**6


@needs_fork
@needs_limits
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_files_that_somebody_made_to_do_harm(every, tmp_path, counted):
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.hostile", str(tmp_path), str(every)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (tmp_path / "executed").exists()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [
        row
        for row in found
        if not row.get("ours")
        or row["growth"] > 2 * row["size"] + 50 * MB
        or row["length"] > 2_000
        or row["seconds"] > 10
    ]
    assert not wrong, "\n".join(map(str, wrong))
    assert len(found) >= 120 // every
    counted(len(found))
