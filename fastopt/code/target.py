"""Which CPU code is compiled for: this one or, if ``FASTOPT_CPU=portable``, any of a kind.

A CPU with more instructions adds and multiplies in other groups, and NumPy and BLAS choose among
their functions by what the CPU has; so the last bits of a result may differ. In portable mode all
of them use what x86-64-v3 has (AVX2 and FMA: Intel since 2013, AMD since 2015), whatever else there
is. They read that from the environment when they are imported, and so do processes started later.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from typing import Any

VARIABLE = "FASTOPT_CPU"
PORTABLE = "x86-64-v3"
_MODES = ("native", "portable")
_NEEDED = ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")


@functools.cache
def mode() -> str:
    """Return ``"native"`` or ``"portable"``: what ``FASTOPT_CPU`` says.

    >>> mode() in ("native", "portable")
    True
    """
    said = os.environ.get(VARIABLE) or "native"
    if said not in _MODES:
        raise ImportError(f"{VARIABLE}={said[:80]!r}: allowed are {' and '.join(_MODES)}")
    return said


def fix_target() -> None:
    """In portable mode, tell Numba, NumPy and OpenBLAS what they may use.

    Raises ImportError if Numba or NumPy are imported already and do otherwise.
    """
    if mode() == "native":
        return
    told = _environment()
    # Nobody can tell here what a loaded OpenBLAS does; it comes with NumPy.
    unsaid = {name for name, value in told.items() if os.environ.get(name) != value}
    late = ["numpy"] if "numpy" in sys.modules and (unsaid or _is_numpy_wide()) else []
    if _is_numba_otherwise(sys.modules.get("numba")):
        late.append("numba")
    if late:
        set_first = " ".join(f"{name}={value!r}" for name, value in told.items())
        raise ImportError(
            f"{VARIABLE}=portable, but {' and '.join(late)} had been imported before fastopt, with "
            "all that this CPU has. Import fastopt (or sweeps) first, or set before Python starts: "
            f"{set_first}"
        )
    os.environ.update(told)


def check_host(features: Mapping[str, bool]) -> None:
    """Raise unless the CPU, whose features these are, has what portable mode makes code for.

    >>> check_host(dict.fromkeys(_NEEDED, True))
    """
    missing = [name for name in _NEEDED if not features.get(name)]
    if missing:
        raise ImportError(
            f"{VARIABLE}=portable makes code for {PORTABLE}, and this CPU has no "
            f"{', '.join(missing)}: unset it"
        )


def _environment() -> dict[str, str]:
    from importlib.metadata import version

    release = tuple(int(part) for part in version("numpy").split(".")[:2])
    wide = "X86_V4" if release >= (2, 4) else "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL"
    return {
        "NUMBA_CPU_NAME": PORTABLE,
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_DISABLE_INTEL_SVML": "1",
        "NPY_DISABLE_CPU_FEATURES": f"{wide} AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Haswell",
    }


def _is_numba_otherwise(numba: Any) -> bool:
    config = getattr(numba, "config", None)
    return config is not None and (config.CPU_NAME, config.CPU_FEATURES) != (PORTABLE, "")


def _is_numpy_wide() -> bool:
    umath = sys.modules["numpy._core._multiarray_umath"]
    used = (name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name])
    return any(name.startswith(("AVX512", "X86_V4")) for name in used)


fix_target()
