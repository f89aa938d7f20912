"""What is made and dropped leaves nothing behind: no memory, file, thread or process."""

from __future__ import annotations

import json
import sys

import pytest

MB = 2**20

PROGRAM = """
import gc, json, os, threading
import numpy as np
import fastopt, sweeps
from sweeps import problems

PAGE = os.sysconf("SC_PAGE_SIZE")
KINDS = [getattr(fastopt, name) for name in {classes}]
FOLDER = {folder!r}

def make_optimizer(k):
    arrays = {{"w": np.ones(1000), "b": np.ones((3, 5))}}
    opt = KINDS[k % len(KINDS)](arrays, lr=0.01)
    opt.step({{name: a + 1 for name, a in arrays.items()}})
    opt.load_state_dict(opt.state_dict())
    opt.add_param_group({{"params": np.ones(7)}})
    if k % 50 == 0:
        fastopt.save(opt, FOLDER + "/opt.safetensors")
        fastopt.load(opt, FOLDER + "/opt.safetensors")
    try:
        opt.step([np.ones(3)])
    except fastopt.FastoptError:
        pass

def make_sweep(k):
    store = None if k % 4 else f"{{FOLDER}}/{{k}}"
    found = sweeps.sweep(
        problems.ellipse(), {{"lr": [0.1, 0.2], "seed": range(2)}}, optimizer="sgd", steps=5,
        progress=False, store=store, executor=None if k % 2 else "threads", curves=k % 3 == 0,
    )
    assert len(found.to_frame()) == 4

def now():
    gc.collect()
    memory = int(open("/proc/self/statm").read().split()[1]) * PAGE
    kept = [t for t in threading.enumerate() if t.name.startswith("fastopt-sweep")]
    assert len(kept) < 9, kept  # as many as tasks at once: test_threads.py
    return memory, len(os.listdir("/proc/self/fd")), threading.active_count() - len(kept)

def growth(make, warm, count):
    for k in range(warm):
        make(k)
    before = now()
    for k in range(warm, warm + count):
        make(k)
    return [b - a for a, b in zip(before, now())]

print(json.dumps([growth(make_optimizer, *{optimizers}), growth(make_sweep, *{sweeps})]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("classes", "optimizers", "sweeps"),
    [
        (["SGD"], (300, 300), (4, 4)),
        pytest.param(
            ["SGD", "AdamW", "Lion", "LAMB"], (2000, 10_000), (40, 200), marks=pytest.mark.soak
        ),
    ],
    ids=["few", "10 000 optimizers and 200 sweeps"],
)
def test_nothing_is_left_behind(classes, optimizers, sweeps, python, tmp_path, counted):
    made = PROGRAM.format(
        classes=classes, optimizers=optimizers, sweeps=sweeps, folder=str(tmp_path)
    )
    for memory, files, threads in json.loads(python(made).stdout):
        assert memory < 5 * MB
        assert (files, threads) == (0, 0)
    counted(optimizers[1] + sweeps[1])
