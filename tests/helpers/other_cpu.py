"""Another CPU, as far as a Python process can play it: one that says it is of another kind.

:func:`cpu_named` writes a ``sitecustomize`` by which LLVM, in every process that finds it, takes
this CPU for the other one; NumPy, OpenBLAS and the C library are told by their own variables.
"""

from __future__ import annotations

from pathlib import Path

SITE = """
import llvmlite.binding as llvm

features = llvm.get_host_cpu_features()
for name in features:
    if name.startswith(("avx512", "amx", "avx10")):
        features[name] = False
llvm.get_host_cpu_features = lambda: features
llvm.get_host_cpu_name = lambda: {name!r}
"""
# Both an older Intel and an AMD CPU go without these.
LESS = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD,-ERMS",
    "OPENBLAS_CORETYPE": "Zen",
}


def cpu_named(name: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """Return a folder to search for modules first, and an environment."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SITE.format(name=name))
    return folder, LESS
