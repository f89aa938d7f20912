"""What is not there on every operating system is not needed: the same work without it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import fastopt
from fastopt.code import cache, system
from fastopt.errors import SpecError
from sweeps.common import resources, workers
from sweeps.store import fs
from tests.helpers.elsewhere import system_without

WORK = """
import io, os, shutil, sys, warnings
import contextlib
warnings.simplefilter("error")
folder = os.getcwd()
gone = [hasattr(os, name) for name in "fork getuid register_at_fork sched_getaffinity".split()]
assert not any(gone) and not os.path.exists("/proc/cpuinfo")
try:
    import fcntl
except ImportError:
    pass
else:
    raise AssertionError("fcntl is there")

import numpy as np
import fastopt
p = np.ones(3)
opt = fastopt.AdamW(p, lr=0.1)
opt.step(np.ones(3))
fastopt.save(opt, "saved")
fastopt.load(opt, "saved")
print(p.tobytes().hex())

from sweeps import problems, sweep
space, options = {"lr": [1e-3, 1e-2], "optimizer": ["adam", "adamw"]}, {"steps": 20}
whole = sweep(problems.rosenbrock(), space, store="runs", **options).to_frame()
for name in os.listdir("runs/parts"):
    os.remove(f"runs/parts/{name}")
assert sweep(problems.rosenbrock(), space, store="runs", **options).to_frame().equals(whole)
for executor, jobs in (("threads", 2), ("processes", JOBS)):
    done = sweep(problems.rosenbrock(), space, executor=executor, n_jobs=jobs, **options)
    assert done.to_frame().equals(whole), executor

from sweeps.cli.commands import main
with open("spec.toml", "w") as file:
    file.write("problem.name = 'rosenbrock'\\nsweep.steps = 20\\nspace.lr = [1e-3, 1e-2]")
for words in (["doctor"], ["cache", "info"], ["sweep", "spec.toml", "--store", "told"]):
    sys.argv, said = ["fastopt", *words], io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            main()
        except SystemExit as end:
            assert not end.code, (words, end.code)
    print(len(said.getvalue()) > 100)
print(whole["train_loss"].to_numpy().tobytes().hex())
"""

TORCH = """
os.register_at_fork = lambda **_: None  # on Linux torch asks for it
import torch
del os.register_at_fork
from fastopt.torch import AdamW
q = torch.ones(3, dtype=torch.float64, requires_grad=True)
q.grad = torch.ones_like(q)
AdamW([q], lr=0.1).step()
print(q.detach().numpy().tobytes().hex())
"""


def work(python, tmp_path, *, users, more="", jobs=1, **environment):
    """Do the work on a system that has less; return what it printed."""
    site = system_without(tmp_path / "site", users=users)
    (tmp_path / "work").mkdir()
    begin = f"import os; os.chdir({str(tmp_path / 'work')!r})\n"
    done = python(begin + WORK.replace("JOBS", str(jobs)) + more, path=(site,), **environment)
    return done.stdout.split()


def stepped():
    p = np.ones(3)
    fastopt.AdamW(p, lr=0.1).step(np.ones(3))
    return p.tobytes().hex()


def test_the_same_work_without_what_only_linux_has(python, tmp_path, counted):
    first, *shown, losses = work(python, tmp_path, users=True)
    assert first == stepped()
    assert shown == ["True"] * 3
    assert losses
    counted(9)


@pytest.mark.soak
def test_the_same_work_without_owners_of_files_and_with_torch(python, tmp_path, counted):
    """With a cache of its own: the folder of a user is called by a number that is not there."""
    cache_there = {"NUMBA_CACHE_DIR": str(tmp_path)}
    found = work(python, tmp_path, users=False, more=TORCH, jobs=2, **cache_there)
    assert found[0] == found[-1] == stepped()
    assert list((tmp_path / "fastopt-kernels").glob("*.nbc"))
    counted(10)


# --- each need, and what is done without it -------------------------------------------------------


def test_a_folder_that_cannot_be_opened_or_synced_is_left_to_the_system(monkeypatch, tmp_path):
    def refuse(error):
        def call(*_):
            raise error

        return call

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse(PermissionError(13, "Permission denied")))
        system.sync_folder(tmp_path)
    for number, passes in ((22, True), (95, True), (5, False)):
        monkeypatch.setattr(os, "fsync", refuse(OSError(number, "no")))
        if passes:
            system.sync_folder(tmp_path)
        else:
            with pytest.raises(OSError, match="no"):
                system.sync_folder(tmp_path)


def test_a_draft_whose_owner_cannot_be_asked_for_is_kept_for_a_day(monkeypatch, tmp_path):
    draft = tmp_path / f".x.{fs.host()}.{2**22 + 1}.ab.draft"
    draft.touch()
    monkeypatch.setattr(system, "_IS_POSIX", False)
    monkeypatch.setattr(os, "kill", None)  # it would be Ctrl-C there
    fs.remove_dead_drafts(tmp_path)
    assert draft.exists()
    os.utime(draft, (0, 0))
    fs.remove_dead_drafts(tmp_path)
    assert not draft.exists()


def test_files_without_owners_are_private(monkeypatch):
    monkeypatch.setattr(cache, "_HAS_USERS", False)
    monkeypatch.delattr(os, "geteuid")
    assert cache.is_private(os.stat(os.devnull))
    assert {folder.name for folder in cache._candidates("x")} == {"fastopt-kernels"}


def test_memory_of_which_nothing_is_said_is_what_can_be_addressed(monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(resources, "MEMINFO", Path("nowhere"))
    monkeypatch.setattr(resources, "CGROUPS", ())
    assert resources.free_memory() == 2**47
    with pytest.raises(SpecError, match="158 TB of memory"):
        resources.check_fits(2**40, 2**40 * 144, 2**40 * 80, None)


def test_processes_start_where_signals_cannot_be_blocked(monkeypatch):
    monkeypatch.delattr("signal.pthread_sigmask")
    with workers.block_sigint():
        pass


def test_what_is_called_at_a_fork_is_called_nowhere_else(monkeypatch):
    monkeypatch.delattr(os, "register_at_fork")
    system.on_fork(in_child=lambda: 1 / 0)
