"""The kernel builder: compiled once, never stale, never mixed up, never fatal."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.codegen import JITCodeLibrary

from fastopt.code import cache as codecache
from fastopt.compile import fingerprint, inlinable, kernel
from fastopt.errors import CacheWarning
from fastopt.machine.loops import SPAN, TICK, ticking
from fastopt.machine.steps import links_of
from fastopt.rules import RULES
from fastopt.rules.sgd import counted, sgd_tick
from tests.conftest import ROOT
from tests.helpers.needs import needs_limits

# Prints which kernels are compiled, and not loaded, without what they are made of.
COMPILED = """
from numba.core import event

class Compiled(event.Listener):
    depth, names = 0, []

    def on_start(self, started):
        if not self.depth:
            name = started.data["dispatcher"].py_func.__qualname__
            self.names.append(name.split("_")[0])
        self.depth += 1

    def on_end(self, _):
        self.depth -= 1

compiled = Compiled()
event.register("numba:compile", compiled)
"""

FEW_RULES = (
    COMPILED
    + """
import numpy as np
from fastopt.rules import RULES
from tests.helpers.stepping import step_arrays

for rule in map(RULES.get, ("sgd", "adam", "adamw")):
    for dtype in (np.float32, np.float64):
        for parallel in (False, True):
            h, x = rule.pack(), tuple(np.ones(9, dtype) for _ in ("p", *rule.slots))
            step_arrays(rule, h, np.array(rule.clock0(h)), np.ones(9, dtype), x, parallel=parallel)
print(*sorted(compiled.names))
"""
)

# Of all rules and dtypes there is one of each.
SHARED = ["finding", "launched", "scattered"]

# One SGD step with lr = 0.5: 3 - 0.5 * 2 = 2.
ONE_STEP = (
    COMPILED
    + """
import numpy as np
from fastopt.rules import RULES
from tests.helpers.stepping import step_arrays
rule, p = RULES["sgd"], np.full(9, 3.0)
step_arrays(rule, rule.pack({"lr": 0.5}), np.zeros(1), np.full(9, 2.0), (p,), parallel=False)
print(p[0], *sorted(compiled.names))
"""
)

# One small kernel: 4 * 0.5 = 2.
SCALED = """
import warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from fastopt.compile import kernel
    from fastopt.norms import scaled
    k, a = kernel(scaled), np.full(9, 4.0)
    k(a, np.array([0.5]))
print(a[0], sum(k.stats.cache_misses.values()), *{w.category.__name__ for w in caught})
"""


def printed(done):
    return done.stdout.split()


def test_second_process_compiles_nothing(python, tmp_path):
    names = printed(python(FEW_RULES, NUMBA_CACHE_DIR=str(tmp_path)))
    # Two formulas (adamw is adam's), in two dtypes; what they have in common once.
    assert Counter(names) == {
        "spanning": 4, "ticking": 2, **dict.fromkeys(SHARED, 1), "each": 1, "span": 1
    }  # fmt: skip
    files = sorted(tmp_path.rglob("*"))
    assert printed(python(FEW_RULES, NUMBA_CACHE_DIR=str(tmp_path))) == []
    assert sorted(tmp_path.rglob("*")) == files


OF_A_RULE = ["spanning", "ticking"]
OF_ARRAYS = ["finding", "launched", *OF_A_RULE]
ALL = sorted([*SHARED, *OF_A_RULE, "span"])


EDITS = {
    "rules/sgd.py": ("- lr * g,)", "- (lr + lr) * g,)", "1.0", OF_A_RULE),
    "machine/access.py": (
        "kind, value, pointer)",
        "kind, builder.fneg(value), pointer)",
        "-2.0",
        OF_ARRAYS,
    ),
}


def test_an_edit_in_another_file_is_noticed(python, tmp_path):
    """Numba's own cache runs the old code here: it looks at the file of the loop only."""
    shutil.copytree(
        ROOT / "fastopt", tmp_path / "fastopt", ignore=shutil.ignore_patterns("__pycache__")
    )
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert printed(python(ONE_STEP, (tmp_path,), **cache)) == ["2.0", *ALL]
    for file, (old, new, result, again) in EDITS.items():
        source = tmp_path / "fastopt" / file
        text = source.read_text()
        assert text.count(old) == 1
        source.write_text(text.replace(old, new))
        assert printed(python(ONE_STEP, (tmp_path,), **cache)) == [result, *again]
        source.write_text(text)
    assert printed(python(ONE_STEP, (tmp_path,), **cache)) == ["2.0"]  # all are kept


USERS_LOOP = """
def over(rule):
    def loop(x):
        for i in range(x.size):
            x[i] = rule(x[i])
    return loop
"""
USERS_RULE = """
from fastopt.compile import inlinable
from users_constants import FACTOR

@inlinable
def times(x):
    return FACTOR * x
"""
USERS_CALL = """
import numpy as np
from fastopt.compile import kernel
from users_loop import over
from users_rule import times
x = np.ones(3)
k = kernel(over, times)
k(x)
print(x[0], sum(k.stats.cache_misses.values()))
"""


def test_an_edited_constant_of_a_user_is_noticed(python, tmp_path):
    (tmp_path / "users_loop.py").write_text(USERS_LOOP)
    (tmp_path / "users_rule.py").write_text(USERS_RULE)
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for factor, misses in ((2.0, 1), (2.0, 0), (3.0, 1), (2.0, 0)):
        (tmp_path / "users_constants.py").write_text(f"FACTOR = {factor!r}\n")
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)  # same size, same second
        assert printed(python(USERS_CALL, (tmp_path,), **cache)) == [str(factor), str(misses)]


FROM_NOWHERE = """
import warnings
import numpy as np
from fastopt.compile import inlinable, kernel
from users_loop import over
warnings.simplefilter("error")
names = {"__name__": "a_page_that_is_no_module"}
exec("def twice(x):\\n    return 2.0 * x", names)
x = np.ones(3)
k = kernel(over, inlinable(names["twice"]))
k(x)
print(x[0], sum(k.stats.cache_misses.values()))
"""


def test_code_of_a_function_without_a_module_is_loaded(python, tmp_path):
    (tmp_path / "users_loop.py").write_text(USERS_LOOP)
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for misses in (1, 0):
        assert printed(python(FROM_NOWHERE, (tmp_path,), **cache)) == ["2.0", str(misses)]


def _truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _replace_by_folder(path):
    path.unlink()
    path.mkdir()


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _link(path):
    elsewhere = path.with_suffix(".elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


class Planted:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return print, ("planted",)


def _plant(path):
    content = pickle.dumps(Planted())
    path.write_bytes(hashlib.sha256(content).digest() + content)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": _truncate,
    "garbage": lambda path: path.write_bytes(os.urandom(4096)),
    "unreadable": _replace_by_folder,
    "flipped": _flip,
    "planted": _plant,
    "a link": _link,
    "anybody's": lambda path: path.chmod(0o666),
    "another user's": lambda path: os.chown(path, 65534, 65534),
}


# The same kernel from each of these folders in turn, as if each time in a new process.
IN_TURN = """
import sys, warnings
import numba
import numpy as np
from fastopt import compile as builder
from fastopt.code import cache
from fastopt.compile import fingerprint
from fastopt.norms import scaled

builder.cache_folder = cache.cache_folder.__wrapped__
for numba.config.CACHE_DIR in {folders}:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        k, a = builder.compiled(scaled, (), fingerprint(scaled), builder.Options()), np.full(9, 4.0)
        k(a, np.array([0.5]))
    print(a[0], sum(k.stats.cache_misses.values()), *{{w.category.__name__ for w in caught}})
"""


@pytest.fixture(scope="module")
def after_damage(python, tmp_path_factory):
    """Return what a process prints of each kind of damaged cache, and what the next one does."""
    sound = tmp_path_factory.mktemp("sound")
    assert python(IN_TURN.format(folders=[str(sound)])).stdout == "2.0 1\n"
    assert python(IN_TURN.format(folders=[str(sound)])).stdout == "2.0 0\n"
    folders = []
    for name, damage in DAMAGE.items():
        folders.append(str(tmp_path_factory.mktemp("damaged")))
        shutil.copytree(sound, folders[-1], dirs_exist_ok=True)
        if name != "another user's" or os.geteuid() == 0:
            files = list(Path(folders[-1]).rglob("*.nbc"))
            assert files
            for file in files:
                damage(file)
    runs = [python(IN_TURN.format(folders=folders)).stdout.splitlines() for _ in range(2)]
    return dict(zip(DAMAGE, zip(*runs, strict=True), strict=True))


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_cache_is_a_warning(after_damage, name):
    if name == "another user's" and os.geteuid():
        pytest.skip("only root may give files away")
    first, second = after_damage[name]
    assert first.split()[::2] == ["2.0", "CacheWarning"]
    if name != "unreadable":
        assert second == "2.0 0"  # it was written anew


def test_an_entry_under_the_name_of_another_is_damaged(tmp_path):
    codecache._replace(tmp_path / "a", b"key a", b"code")
    assert codecache._checked(tmp_path / "a", b"key a") == b"code"
    shutil.copy2(tmp_path / "a", tmp_path / "b")
    with pytest.raises(ValueError, match="damaged"):
        codecache._checked(tmp_path / "b", b"key b")


def _link_folder(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


FOREIGN = {
    "others may write": lambda path: path.chmod(0o777),
    "its group may write": lambda path: path.chmod(0o770),
    "a link": _link_folder,
    "a file": lambda path: (path.rmdir(), path.touch()),
    "another user's": lambda path: os.chown(path, 65534, 65534),
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_nothing_is_loaded_from_a_folder_that_others_may_write_to(change, tmp_path, monkeypatch):
    if change is FOREIGN["another user's"] and os.geteuid():
        pytest.skip("only root may give folders away")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    folder = codecache.cache_folder.__wrapped__()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    change(folder)
    with pytest.warns(CacheWarning, match="only this user may write to"):
        assert codecache.cache_folder.__wrapped__().parent != tmp_path


FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
"""


@needs_limits
def test_full_disk_is_a_warning(python, tmp_path):
    """A file may be made but not written to: Numba's check of the folder passes, its save fails."""
    done = python(FULL_DISK + SCALED, NUMBA_CACHE_DIR=str(tmp_path))
    assert printed(done) == ["2.0", "1", "CacheWarning"]


# Root may write anywhere: give that up, and keep reading what belongs to root.
NO_PRIVILEGES = """
import ctypes
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(header, none) == 0
"""


def test_no_writable_folder_is_a_warning(python, tmp_path):
    copy = tmp_path / "fastopt"
    shutil.copytree(ROOT / "fastopt", copy, ignore=shutil.ignore_patterns("__pycache__"))
    folders = [tmp_path, copy, *(path for path in copy.rglob("*") if path.is_dir())]
    nowhere = {name: str(tmp_path) for name in ("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME")}
    try:
        for folder in folders:
            folder.chmod(0o555)
        done = python(NO_PRIVILEGES + SCALED, (tmp_path,), **nowhere)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert printed(done)[::2] == ["2.0", "CacheWarning"]


IMPORT = """
import sys
from numba.core import event
recorder = event.RecordingListener()
event.register("numba:compile", recorder)
import fastopt
print(len(recorder.buffer), *{"pandas", "torch", "scipy.stats", "matplotlib"} & set(sys.modules))
"""
FIRST_CALL = """
import numpy as np
fastopt.SGD(np.ones(9), lr=0.5).step(np.ones(9))
print(len(recorder.buffer) > 0)
"""


def test_import_is_light_and_compiles_nothing(python, tmp_path):
    done = python(IMPORT + FIRST_CALL, NUMBA_CACHE_DIR=str(tmp_path))
    assert printed(done) == ["0", "True"]


def test_names_say_what_a_kernel_is(python, tmp_path):
    for parallel, twin in ((False, "serial"), (True, "parallel")):
        name = kernel(ticking, counted, sgd_tick, 4, parallel=parallel).py_func.__qualname__
        label, _, digest = name.rpartition("_")
        assert label == f"ticking_counted_sgd_tick_4_{twin}"
        assert len(digest) == 16
    python(SCALED, NUMBA_CACHE_DIR=str(tmp_path))
    assert all("scaled_serial_" in file.name for file in tmp_path.rglob("*.nb?"))


def test_same_formula_is_one_kernel():
    kinds = [np.dtype(np.float64)] * 4
    adam, adamw = (links_of(RULES[name], tuple(kinds)) for name in ("adam", "adamw"))
    sgd = links_of(RULES["sgd"], tuple(kinds[:2]))
    np.testing.assert_array_equal(adam, adamw)
    assert (adam[[TICK, SPAN]] != sgd[[TICK, SPAN]]).all()
    assert kernel(ticking, counted, sgd_tick, 4) is not kernel(
        ticking, counted, sgd_tick, 4, parallel=True
    )


ANEW = """
import numpy as np
import fastopt, sweeps
from fastopt import compile as builder
from fastopt.code import fingerprint as digests

for make, n in ((fastopt.AdamW, 9), (fastopt.LAMB, 9), (fastopt.SGD, 100_000)):
    make(x := np.ones(n, np.float32), lr=0.1).step(np.ones_like(x))
X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
sweeps.sweep(sweeps.problems.mlp(X, y), {"lr": [0.1]}, epochs=1, progress=False)
sweeps.sweep(sweeps.problems.ellipse(), {"lr": [0.1]}, steps=9, progress=False)
digests._settled.clear()
made = {key: kernel.recipe for key, kernel in builder._kernels.items()}
now = {key: builder.fingerprint(r.template, *r.parts, *r.options) for key, r in made.items()}
print(len(made) > 20, [name for (name, before), digest in now.items() if digest != before])
"""


def test_digests_do_not_depend_on_what_a_process_has_done(python):
    """llvmlite's types keep their text once they are asked: some kernels were compiled twice."""
    assert printed(python(ANEW)) == ["True", "[]"]


def shifted(by, *, factor=2.0):
    @inlinable
    def rule(x):
        return factor * x + by

    return rule


def over(rule, n):
    def loop(x):
        for i in range(n):
            x[i] = rule(x[i])

    return loop


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((over, shifted(1.0), 2), (over, shifted(2.0), 2)),
        ((over, shifted(1.0), 2), (over, shifted(1.0, factor=3.0), 2)),
        ((over, shifted(1.0), 2), (over, shifted(1.0), 3)),
        ((over, shifted(np.ones(2)), 2), (over, shifted(np.zeros(2)), 2)),
        ((over, shifted(np.ones(2)), 2), (over, shifted(np.ones(2, np.float32)), 2)),
    ],
    ids=["closure", "inner closure", "constant", "array", "dtype"],
)
def test_fingerprint_sees(a, b):
    assert fingerprint(*a) != fingerprint(*b)


def test_fingerprint_of_equal_parts_is_equal():
    assert fingerprint(over, shifted(1.0), 2) == fingerprint(over, shifted(1.0), 2)


DIGEST = """
import os
from types import FunctionType
from fastopt.machine import loops
from fastopt.compile import fingerprint
from fastopt.rules import RULES
from sweeps.engine import callees, lanes, stretches, trial

found = {name: (rule.clock0, rule.tick, rule.update) for name, rule in RULES.items()}
for module in (loops, callees, lanes, stretches, trial):
    found |= {(module, k): f for k, f in vars(module).items() if isinstance(f, FunctionType)}
backwards = os.environ["PYTHONHASHSEED"] == "2"
digests = {name: fingerprint(found[name]) for name in sorted(found, key=str, reverse=backwards)}
print(*(digests[name] for name in found))
"""


def test_fingerprint_does_not_depend_on_the_process(python):
    """Nor on what the process has done before: what is remembered on the way does not count."""
    first, second = (printed(python(DIGEST, PYTHONHASHSEED=seed)) for seed in "12")
    assert first == second
    rules = first[: len(RULES)]
    assert len(set(rules)) == len({(rule.tick, rule.update) for rule in RULES.values()})


def test_parts_with_equal_names_do_not_share_a_kernel():
    x, y = np.ones(2), np.ones(2)
    kernel(over, shifted(1.0), 2)(x)
    kernel(over, shifted(5.0), 2)(y)
    np.testing.assert_array_equal([x, y], [[3.0, 3.0], [7.0, 7.0]])


def test_what_a_kernel_contains_becomes_machine_code_as_a_part_of_it_only(monkeypatch):
    made = []
    finish = JITCodeLibrary._finalize_specific
    monkeypatch.setattr(
        JITCodeLibrary,
        "_finalize_specific",
        lambda library: (made.append(library), finish(library)),
    )
    # Of no file, so compiled in each process.
    template = eval("lambda inner: lambda x: inner(x) + inner(x + 1.0)")
    half = inlinable(lambda x: x / 2.0)
    assert kernel(template, lambda x: half(x) + half(x))(3.0) == 7.0
    # The first kernel of a process brings Numba's runtime along.
    assert sum(library.name != "nrt" for library in made) == 1
