"""``FASTOPT_CPU=portable``: the same bits on every CPU that has x86-64-v3."""

from __future__ import annotations

import platform
import re

import pytest

from fastopt.code.target import _NEEDED, check_host, mode
from tests.helpers.other_cpu import cpu_named

intel = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="portable mode is for x86-64"
)

SAID = """
import hashlib, fastopt, llvmlite.binding, numba, numpy
from fastopt.compile import compilations
from numpy._core import _multiarray_umath as umath

def show(name, *arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(numpy.ascontiguousarray(array).tobytes())
    print(name, digest.hexdigest())

def facts():
    from scipy.linalg import blas
    from threadpoolctl import threadpool_info
    libraries = {one.get("architecture") for one in threadpool_info()} - {None}
    print("host", llvmlite.binding.get_host_cpu_name())
    print("cpu", numba.config.CPU_NAME)
    print("blas", *sorted(libraries))
    used = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    print("wide", any(name.startswith(("AVX512", "X86_V4")) for name in used))
    print("compiled", len(compilations()))
"""
STEP = """
opt = fastopt.SGD(p := numpy.linspace(-2, 3, 1001, dtype="f4"), lr=0.03, momentum=0.9)
for k in range(1, 4):
    opt.step(numpy.sin(p) / k)
show("step", p, numpy.exp(p), numpy.tanh(p), p[:900].reshape(30, 30) @ p[:900].reshape(30, 30))
"""
SWEEPS = """
import pandas
from sweeps import problems, sweep

def show_frame(name, problem, space, **options):
    frame = sweep(problem, space, progress=False, **options).to_frame()
    assert (frame["state"] == "COMPLETE").all()
    show(name, *(frame[column] for column in frame.select_dtypes("number")))

show_frame("landscape", problems.ackley(), {"lr": [0.01, 0.1], "optimizer": ["adam", "sgd"]},
           steps=100)
show_frame("digits", problems.digits(hidden=(16,)), {"lr": [1e-3, 1e-2], "batch_size": [32, 128]},
           epochs=2)
rng = numpy.random.default_rng(0)
table = pandas.DataFrame({"x": rng.normal(size=90), "z": rng.gamma(2.0, size=90),
                          "kind": rng.choice(["a", "b", "c"], 90)})
table["y"] = table["x"] * numpy.log(table["z"]) + (table["kind"] == "b")
show_frame("table", problems.table(table, target="y", folds=3, hidden=(8,), embed=["kind"]),
           {"lr": [1e-3, 1e-2], "dropout": [0.0, 0.3]}, epochs=3, batch_size=16)
"""


def shown(python, code, path=(), cpu="portable", **environment):
    done = python(SAID + code + "\nfacts()", path=path, FASTOPT_CPU=cpu, **environment)
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines())


def on_two_cpus(python, tmp_path, code, names):
    """Return what this CPU shows, after checking that CPUs of other names show the same."""
    here = shown(python, code)
    facts = {"cpu": "x86-64-v3", "blas": "Haswell", "wide": "False"}
    assert {name: here[name] for name in facts} == facts
    for name in names:
        site, less = cpu_named(name, tmp_path / name)
        own_cache = {"NUMBA_CACHE_DIR": str(tmp_path / name)}  # else it loads what was compiled
        there = shown(python, code, (site,), **less, **own_cache)
        assert there.pop("host") == name
        assert int(there.pop("compiled"))
        assert there == {key: here[key] for key in there}
    return here


@intel
def test_a_step_has_the_same_bits_on_two_cpus(python, tmp_path, counted):
    on_two_cpus(python, tmp_path, STEP, ["znver3"])
    counted(1)


@intel
@pytest.mark.soak
def test_sweeps_have_the_same_bits_on_three_cpus(python, tmp_path, counted):
    here = on_two_cpus(python, tmp_path, STEP + SWEEPS, ["haswell", "znver3"])
    assert len({*here} & {"step", "landscape", "digits", "table"}) == 4
    counted(8)


LATE = """
import sys
import {first}
try:
    import {then}
except ImportError as error:
    print(error)
try:
    import {then}
except ImportError as error:
    print(error)
"""


@intel
@pytest.mark.parametrize(("first", "then"), [("numpy", "fastopt"), ("numba", "sweeps")])
def test_what_was_imported_before_is_refused_again_and_again(python, first, then):
    said = python(LATE.format(first=first, then=then), FASTOPT_CPU="portable").stdout.splitlines()
    assert len(said) == 2
    for line in said:
        assert re.match(r"FASTOPT_CPU=portable, but numpy( and numba)? had been imported", line)
        assert ("and numba" in line) == (first == "numba")


@intel
def test_what_the_message_says_to_set_first_works(python):
    said = python(LATE.format(first="numpy", then="fastopt"), FASTOPT_CPU="portable").stdout
    told = dict(re.findall(r"(\w+)='([^']*)'", said.splitlines()[0]))
    assert len(told) == 5
    asked = "import numba, fastopt, sweeps; print(fastopt.code.target.mode(), 'fine')"
    for words in (asked, asked.replace("numba, ", "")):
        assert python(words, FASTOPT_CPU="portable", **told).stdout.split() == ["portable", "fine"]


def test_another_word_is_refused(python):
    code = "try:\n    import sweeps\nexcept ImportError as error:\n    print(error)"
    said = python(code, FASTOPT_CPU="fast").stdout
    assert said == "FASTOPT_CPU='fast': allowed are native and portable\n"


def test_nothing_is_told_to_anyone_in_native_mode(python):
    code = """
import os, sys
before, modules = dict(os.environ), set(sys.modules)
import fastopt.code.target
assert dict(os.environ) == before and fastopt.code.target.mode() == "native"
assert not {"platform", "importlib.metadata", "numpy", "numba"} & (set(sys.modules) - modules)
"""
    python(code, FASTOPT_CPU="")


def test_a_cpu_that_has_less_is_refused():
    check_host(dict.fromkeys(_NEEDED, True))
    with pytest.raises(ImportError, match="this CPU has no avx2, fma: unset it"):
        check_host({name: name not in ("avx2", "fma") for name in _NEEDED})
    assert mode() == "native"
