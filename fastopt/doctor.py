"""What speed and results depend on: versions, cores, threads, BLAS, the folder of compiled code."""

from __future__ import annotations

import functools
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numba
from llvmlite import binding

from fastopt.code.target import PORTABLE, VARIABLE, mode
from fastopt.compile import cache_folder

PACKAGES = ("fastopt", "numpy", "numba", "llvmlite", "scipy", "pandas", "pyarrow", "scikit-learn")

# Where the same bits come from all of them, it is no matter which CPU it is.
_PORTABLE = f"any {PORTABLE} ({VARIABLE}=portable)"

CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


def facts() -> dict[str, str]:
    """Collect the facts about this process and machine that a report of speed needs.

    Starts Numba's threads, since their kind is not known before. They are in the order to show
    them; what is wrong says so, and what to do.

    >>> list(facts())[:3]
    ['fastopt', 'numpy', 'numba']
    """
    return {
        **versions(),
        "CPU": _cpu(),
        "cores": _cores(),
        "threads": _threads(),
        "BLAS": _blas(),
        "cache of compiled code": _cache(),
    }


def versions() -> dict[str, str]:
    """Collect what decides the last bits of results: packages, Python, system and CPU.

    >>> list(versions())[-3:]
    ['Python', 'system', 'CPU']
    """
    return {
        **{name: _version(name) for name in PACKAGES},
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.machine()}",
        "CPU": _cpu() if mode() == "native" else _PORTABLE,
    }


def cpu_quota() -> float | None:
    """Return how many cores' worth of time the control group grants, or None for no limit."""
    try:
        if CGROUP_V2.exists():
            quota, period = CGROUP_V2.read_text().split()
        else:
            quota = (CGROUP_V1 / "cpu.cfs_quota_us").read_text()
            period = (CGROUP_V1 / "cpu.cfs_period_us").read_text()
    except (OSError, ValueError):
        return None
    return None if quota.strip() in ("max", "-1") else float(quota) / float(period)


def _version(name: str) -> str:
    try:
        return _known_version(name)
    except PackageNotFoundError:
        return "not installed"


# What is found stays true of a process: those of all packages took 10 ms of every save and store.
_known_version = functools.cache(version)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    features = binding.get_host_cpu_features()
    simd = [name for name in ("avx512f", "avx2", "neon") if features.get(name)]
    name = model[0] if model else platform.processor() or platform.machine()
    target = f"; code is for {_PORTABLE}" if mode() == "portable" else ""
    return f"{name} ({binding.get_host_cpu_name()}{', ' + simd[0] if simd else ''}){target}"


def _cores() -> str:
    parts = [f"{os.cpu_count()} in the machine"]
    if hasattr(os, "sched_getaffinity"):
        parts.append(f"{len(os.sched_getaffinity(0))} allowed to this process")
    quota = cpu_quota()
    parts.append("no quota" if quota is None else f"quota of {quota:g}")
    return ", ".join(parts)


def _threads() -> str:
    from numba.np.ufunc import parallel

    parallel._launch_threads()
    count, quota = numba.get_num_threads(), cpu_quota()
    text = f"{count}, layer {numba.threading_layer()}"
    if quota is not None and count > quota:
        text += f"; more than the quota: set NUMBA_NUM_THREADS={max(1, int(quota))}"
    # Where pip puts it no loader looks. It is not loaded for you: a step of 10^6 elements took 153
    # us under omp and 304 us under tbb, and whoever uses Numba in this process would have it, too.
    tbb = Path(sys.prefix, "lib", "libtbb.so.12")
    if numba.threading_layer() != "tbb" and tbb.exists():
        text += f"; tbb is installed, and found with LD_LIBRARY_PATH={tbb.parent}"
    return text


def _blas() -> str:
    import scipy.linalg  # noqa: F401  numba's BLAS calls go through SciPy's library
    from threadpoolctl import threadpool_info

    found = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    names = (f"{b['internal_api']} {b['version']} ({b['num_threads']} threads)" for b in found)
    return "; ".join(names) or "none found"


def _cache() -> str:
    folder = cache_folder()
    if folder is None:
        return "none; name a writable folder in NUMBA_CACHE_DIR"
    known = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(known, os.W_OK):
        return f"{folder}, not writable; name a writable folder in NUMBA_CACHE_DIR"
    return f"{folder}, writable"
