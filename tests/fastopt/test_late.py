"""Names that are imported when they are asked for, and formulas that wait for a compiler."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import py_compile
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastopt
from fastopt import classes
from fastopt.code.cache import cache_folder
from fastopt.code.fingerprint import _source_hash
from fastopt.compile import fingerprint
from fastopt.norms import scaled
from fastopt.rules import RULES
from tests.conftest import ROOT

PACKAGES = ("fastopt", "fastopt.schedules", "sweeps", "sweeps.studies")


def fresh(script, *args):
    """Run a script in a process of its own; return its lines."""
    command = [sys.executable, "-c", script, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.splitlines()


def statically(package):
    """Return the names that type checkers read off the file: what is imported, and ``__all__``."""
    path = ROOT.joinpath(*package.split("."), "__init__.py")
    imported, listed = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            imported |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed |= set(ast.literal_eval(node.value))
    return imported, listed


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_that_type_checkers_see_is_there(package):
    module, (imported, listed) = importlib.import_module(package), statically(package)
    assert listed <= imported
    assert {*module.__all__} == listed | ({*classes.__all__} if package == "fastopt" else set())
    assert {*module.__all__} <= {*dir(module)}
    for name in module.__all__:
        assert getattr(module, name) is getattr(module, name)
    assert not hasattr(module, "no_such_name")
    assert not hasattr(module, "__wrapped__")


ALL = """
import sys
module = __import__(sys.argv[1])
from importlib import import_module
names = {}
exec(f"from {sys.argv[1]} import *", names)
module = import_module(sys.argv[1])
print(sorted({*module.__all__} ^ ({*names} - {"__builtins__"})))
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_a_star_brings_all_names(package):
    assert fresh(ALL, package) == ["[]"]


NOTHING = """
import sys, fastopt, sweeps
brought = [n for n in ("numpy", "numba", "pandas", "sklearn", "scipy") if n in sys.modules]
print(brought, fastopt.optimizer.__name__, sweeps.problems.mlp.__name__, sweeps.report.__name__)
print(inspect.getdoc(fastopt.AdamW)[:20], fastopt.maths.exp(0.0))
"""


def test_importing_a_package_imports_nothing_and_its_modules_are_attributes():
    first, second = fresh("import inspect" + NOTHING)
    assert first == "[] fastopt.optimizer mlp sweeps.report"
    assert second == f"{inspect.getdoc(fastopt.AdamW)[:20]} 1.0"


NEEDED = """
import sys
import numpy, numba
before = {name.partition(".")[0] for name in sys.modules}
import fastopt
p = numpy.ones(3)
fastopt.AdamW(p, lr=0.1)
after = {name.partition(".")[0] for name in sys.modules}
print(sorted(after - before - sys.stdlib_module_names - {"<dynamic>"}))  # the last is Numba's
"""


def test_an_optimizer_needs_nothing_but_numpy_and_numba():
    assert fresh(NEEDED) == ["['fastopt']"]


KERNELS = """
import sys
if sys.argv[1] == "compiler first":
    import fastopt.compile
from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES
print("numba" in sys.modules)
from fastopt.compile import fingerprint, registration
from fastopt.schedules import factor
parts = [part for rule in RULES.values() for part in (*rule.kernel_parts[:6], rule.vectors) if part]
for part in (*parts, *(row.function for row in SCHEDULES.values()), factor):
    print(part.__qualname__, registration(part), fingerprint(part))
"""


def test_kernels_are_the_same_whether_formulas_or_the_compiler_came_first():
    """Or code in the cache would be found by one process and not by the next."""
    (no, *late), (yes, *soon) = fresh(KERNELS, "formulas first"), fresh(KERNELS, "compiler first")
    assert (no, yes) == ("False", "True")
    assert late == soon
    assert len(late) > 3 * len(RULES)


OWN = """
{first}
{second}
rule = RULES["momentum"]
h = rule.pack({{"lr": 0.5}})
clock, c = rule.tick(h, rule.clock0(h))

def step(c, g, p, m):
    return update(c, g, (p, m)), factor(kind, 2.0, a)

update, (kind, a) = rule.update, pack("exponential", {{"gamma": 0.5}})[:2]
print(numba.njit(step)(c, 2.0, 3.0, 0.0) == step(c, 2.0, 3.0, 0.0))
"""


@pytest.mark.parametrize("numba_first", [True, False])
def test_compiled_code_of_a_user_calls_formulas_and_schedules(numba_first):
    lines = [
        "import numba",
        "from fastopt import RULES\nfrom fastopt.schedules import factor, pack",
    ]
    first, second = lines if numba_first else lines[::-1]
    assert fresh(OWN.format(first=first, second=second)) == ["True"]


def test_a_package_in_a_zip_file_is_the_same(tmp_path, monkeypatch):
    """With the digests of its source: what was compiled from a folder is loaded."""
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for file in (ROOT / "fastopt").rglob("*.py"):
            packed.write(file, file.relative_to(ROOT))
    fastopt.SGD(p := np.ones(3), lr=0.5).step(np.ones(3))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache_folder().parent))
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import numpy as np; import fastopt; "
        "from fastopt.compile import compilations, fingerprint; from fastopt.norms import scaled; "
        "fastopt.SGD(p := np.ones(3), lr=0.5).step(np.ones(3)); "
        "print(fastopt.__file__, p, len(compilations()), fingerprint(scaled))"
    )
    found = fresh(script, str(tmp_path / "all.zip"))
    assert found == [f"{tmp_path}/all.zip/fastopt/__init__.py {p} 0 {fingerprint(scaled)}"]


class OnlyData:
    """What loaders of import hooks may have, such as that of pytest's."""

    def get_data(self, path):
        return Path(path).read_bytes()


@pytest.mark.parametrize("loader", [OnlyData(), object(), None])
def test_an_import_hook_changes_no_digest(loader, monkeypatch):
    module = sys.modules[scaled.__module__]
    monkeypatch.setattr(module, "__loader__", loader)
    whole = hashlib.sha256(Path(module.__file__).read_bytes()).digest()
    assert _source_hash.__wrapped__(module.__name__) == whole


def test_a_package_without_source_says_so(tmp_path, monkeypatch):
    (tmp_path / "bare").mkdir()
    source = "from fastopt.late import late_names; __getattr__, __dir__ = late_names(__name__)"
    (tmp_path / "bare.txt").write_text(source)
    py_compile.compile(str(tmp_path / "bare.txt"), str(tmp_path / "bare/__init__.pyc"))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="bare is installed without its source"):
        _ = importlib.import_module("bare").x
    del sys.modules["bare"]
