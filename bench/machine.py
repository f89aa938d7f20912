"""What a benchmark ran on: facts that decide its numbers, without names or paths."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
from typing import Any

import numba
import numpy as np

import fastopt

PACKAGES = ("numpy", "numba", "scipy", "pandas", "scikit-learn", "torch")


@functools.cache
def facts() -> dict[str, Any]:
    """Return CPU model, cores, threads, threading layer and versions."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "numba_threads": numba.get_num_threads(),
        "layer": _layer(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def _cpu() -> str:
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    wide = "AVX-512" if _has("avx512f") else "AVX2" if _has("avx2") else "no AVX2"
    return f"{names[0] if names else 'unknown CPU'}, {wide}"


def _has(flag: str) -> bool:
    with open("/proc/cpuinfo") as file:
        return any(line.startswith("flags") and f" {flag} " in line + " " for line in file)


def _layer() -> str:
    p, g = np.zeros((2, 1 << 16), np.float32)
    fastopt.SGD(p).step(g)
    try:
        return numba.threading_layer()
    except ValueError:  # one thread: nothing parallel ever ran
        return "none"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
