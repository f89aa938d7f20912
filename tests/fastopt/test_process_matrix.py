"""Every layer of threads with every way to another thread or process: the same bits, and an end.

Each cell is a program of its own with a limit of 60 s (on a machine with nothing else to do).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fastopt.test_compile import IN_TURN
from tests.helpers.layers import environment_of

LAYERS = ("omp", "workqueue", "tbb")
LIMIT = 60

PROGRAM = """
import multiprocessing, os, sys, threading, warnings
import numba
import numpy as np
from fastopt import AdamW, clip_grad_norm_
from fastopt.machine.threads import COSTLY

N, STEPS = 520_000, 4

def train(seed, threads=2, steps=STEPS):
    numba.set_num_threads(threads)
    w = np.random.default_rng(seed).normal(size=N).astype(np.float32)
    opt = AdamW(w, lr=0.01)
    for _ in range(steps):
        g = 2 * w
        clip_grad_norm_(g, 1.0)
        opt.step(g)
    return w.tobytes()

def check(seed, expected):
    assert train(seed) == expected

def child_of_fork(then):
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
    else:
        then()
        os._exit(0)

def process(method, seed, expected):
    job = multiprocessing.get_context(method).Process(target=check, args=(seed, expected))
    job.start()
    job.join()
    assert job.exitcode == 0

def fork(seed, expected):
    child_of_fork(lambda: check(seed, expected))

def grandchild(seed, expected):
    child_of_fork(lambda: child_of_fork(lambda: check(seed, expected)))

def fork_of_a_thread(seed, expected):
    worker = threading.Thread(target=fork, args=(seed, expected))
    worker.start()
    worker.join()

def forkserver(seed, expected):
    process("forkserver", seed, expected)

def spawn(seed, expected):
    process("spawn", seed, expected)

def pool_of_processes(seed, expected):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.starmap(check, [(seed, expected)] * 4)

def pool_of_threads(seed, expected):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(train, [seed] * 8)) == {expected}

def eight_threads(seed, expected):
    steps, found = int(os.environ.get("STEPS", 20)), [None] * 8
    def work(k):
        found[k] = train(k % 2, steps=steps)
    workers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    serial = [train(k, threads=1, steps=steps) for k in range(2)]
    assert found == serial * 4

def loader(seed, expected):
    import torch
    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 4
        def __getitem__(self, k):
            check(seed, expected)
            return k
    rows = torch.utils.data.DataLoader(Rows(), batch_size=1, num_workers=2)
    assert [int(k) for k in rows] == [0, 1, 2, 3]

def dask_threads(seed, expected):
    import dask
    jobs = [dask.delayed(train)(seed) for _ in range(6)]
    assert set(dask.compute(*jobs, scheduler="threads")) == {expected}

if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # fork of a process with threads
    _, how, before = sys.argv
    assert N > COSTLY
    expected = train(3, threads=2 if before == "parallel" else 1)
    numba.set_num_threads(2)
    globals()[how](3, expected)
    check(3, expected)
    assert numba.threading_layer() == os.environ["NUMBA_THREADING_LAYER"]
"""
HOWS = (
    "fork", "grandchild", "fork_of_a_thread", "forkserver", "spawn", "pool_of_processes",
    "pool_of_threads", "eight_threads", "loader", "dask_threads",
)  # fmt: skip
CELLS = [*itertools.product(LAYERS, HOWS, ("parallel", "serial"))]
QUICK = [("workqueue", "eight_threads", "serial")]  # beside tests/fastopt/test_threads.py


def run(folder, *cell, **environment):
    layer, how, before = cell
    (folder / "program.py").write_text(PROGRAM)
    return subprocess.run(
        [sys.executable, "program.py", how, before],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **environment_of(layer),
            **environment,
        },
        cwd=folder,
        timeout=4 * LIMIT,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, marks=[] if cell in QUICK else pytest.mark.soak) for cell in CELLS],
    ids="-".join,
)
def test_the_same_bits_in_every_thread_and_process(cell, tmp_path):
    done = run(tmp_path, *cell)
    assert done.returncode == 0, done.stderr[-3000:]


def test_there_are_enough_cells():
    assert len(CELLS) >= 36


@pytest.mark.soak
@pytest.mark.parametrize("layer", LAYERS)
def test_eight_threads_of_500_steps_equal_a_serial_run(layer, tmp_path, counted):
    done = run(tmp_path, layer, "eight_threads", "serial", STEPS="500")
    assert done.returncode == 0, done.stderr[-3000:]
    counted(8 * 500)


# ---- the cache ----

CHANGES = {
    "cut": lambda data, rng: data[: rng.randrange(len(data))],
    "a bit": lambda data, rng: _at(data, rng, lambda byte: byte ^ 1 << rng.randrange(8)),
    "a byte": lambda data, rng: _at(data, rng, lambda byte: (byte + rng.randrange(1, 256)) % 256),
    "zeros": lambda data, rng: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "longer": lambda data, rng: data + rng.randbytes(rng.randrange(1, 99)),
    "noise": lambda data, rng: rng.randbytes(rng.randrange(1, 2 * len(data))),
    "turned": lambda data, rng: data[::-1],
}


def _at(data, rng, change):
    place = rng.randrange(len(data))
    return data[:place] + bytes([change(data[place])]) + data[place + 1 :]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("count", [7, pytest.param(210, marks=pytest.mark.soak)])
def test_a_corrupt_cache_is_compiled_again(count, python, tmp_path, counted):
    sound, folders = tmp_path / "sound", [tmp_path / f"bad{k}" for k in range(count)]
    assert python(IN_TURN.format(folders=[str(sound)])).stdout == "2.0 1\n"
    rng, names = random.Random(0), list(CHANGES)
    for k, folder in enumerate(folders):
        shutil.copytree(sound, folder)
        file = rng.choice(sorted(p for p in folder.rglob("*.nb*") if p.stat().st_size))
        file.write_bytes(CHANGES[names[k % len(names)]](file.read_bytes(), rng))
    for first in range(0, count, 30):
        chunk = [str(folder) for folder in folders[first : first + 30]]
        for line in python(IN_TURN.format(folders=chunk)).stdout.splitlines():
            assert line == "2.0 1 CacheWarning"
        # It was written anew.
        assert set(python(IN_TURN.format(folders=chunk)).stdout.splitlines()) == {"2.0 0"}
    counted(count)


# Forks of a process that has Numba, and nothing of ours, start nearer to each other than programs.
AT_ONCE = """
import io, os, sys
import numba, numpy, numba.core.caching

for folder in {folders}:
    children = []
    for _ in range({processes}):
        child = os.fork()
        if not child:
            try:
                sys.stdout = io.StringIO()
                exec({in_turn!r}.replace("FOLDER", repr(folder)))
                os.write(1, sys.stdout.getvalue().encode())  # at once: all write to one pipe
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * {processes}
"""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("rounds", "processes"), [(1, 3), pytest.param(20, 16, marks=pytest.mark.soak)]
)
def test_many_start_at_once_with_an_empty_cache(rounds, processes, python, tmp_path, counted):
    folders = [str(tmp_path / str(k)) for k in range(rounds)]
    in_turn = IN_TURN.format(folders="[FOLDER]")
    said = python(AT_ONCE.format(folders=folders, processes=processes, in_turn=in_turn)).stdout
    assert len(said.splitlines()) == rounds * processes
    assert set(said.splitlines()) <= {"2.0 0", "2.0 1"}  # and no warning
    for folder in folders:
        assert len({_digest(path) for path in Path(folder).rglob("*.nbc")}) == 1
    counted(rounds * processes)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
