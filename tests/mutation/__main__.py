"""Change one place of the library at a time, and ask a few fast tests whether they see it.

``python -m tests.mutation`` tries the files of ``targets.toml`` and writes ``score.json``, which
``docs/reliability.py`` reads; ``python -m tests.mutation rules`` one kind of them, ``--show`` also
says which changes no test saw, ``--again`` tries only those of the last score. Those that change
nothing stand in ``equivalents.toml``, with the reason. Needs ``pip install cosmic-ray``, whose
operators make the changes.

It runs the tests itself: cosmic-ray starts a process for each change, which takes three seconds
here to import Numba, pandas and torch; a fork that has them takes 0.3 s. And mutmut does not
change functions with decorators, which all formulas have.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCORE = HERE / "score.json"
SEED = 20
SECONDS = 60  # of a processor; one that loops is seen by its end

# Neighbours only: of `+` into `<<` everything dies at once, which would say nothing of the tests.
PLAIN = """
    AddNot ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd
    ReplaceBreakWithContinue ReplaceContinueWithBreak ExceptionReplacer NumberReplacer
    ZeroIterationForLoop ReplaceUnaryOperator_Delete_USub ReplaceUnaryOperator_Delete_Not
"""
ARITHMETIC = """
    Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul LShift_RShift BitOr_BitAnd
"""
COMPARISONS = "Eq_NotEq NotEq_Eq Lt_LtE LtE_Lt Gt_GtE GtE_Gt Lt_GtE Gt_LtE Is_IsNot IsNot_Is"
LIBRARIES = """
    numpy torch numba.extending pandas pyarrow.parquet scipy.stats typer pytest hypothesis
    xdist.plugin pytest_benchmark.plugin pytest_timeout
"""
OPERATORS = (
    *PLAIN.split(),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ARITHMETIC.split()),
    *(f"ReplaceComparisonOperator_{pair}" for pair in COMPARISONS.split()),
)

# An annotation is a text: what is written in it never runs. And the star of a signature is none
# of arithmetic.
NO_CODE = "from __future__", " | None", ", /, "


class Mutant(NamedTuple):
    """A file with one change; ``line`` is what changed, and into what."""

    file: str
    line: str
    source: str


def mutants_of(file: str, most: int) -> list[Mutant]:
    """Return the changes of a file, or a sample of so many; annotations and texts stay."""
    import ast

    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.operators.provider import OperatorProvider

    text, known = (ROOT / file).read_text(), OperatorProvider()
    before, found = ast.dump(ast.parse(text)), {}
    for name in OPERATORS:
        for k in range(10_000):
            try:
                source = mutate_code(text, known[name](), k)
                if source is None:
                    break
                if ast.dump(ast.parse(source)) == before:
                    continue
            except (SyntaxError, AttributeError):  # cosmic-ray knows no `except a.B`
                continue
            found[source] = Mutant(file, difference(text, source), source)
    kept = [m for m in found.values() if not any(word in m.line for word in NO_CODE)]
    return random.Random(SEED).sample(kept, most) if len(kept) > most else kept


def difference(old: str, new: str) -> str:
    """Return the line that differs, before and after."""
    pairs = zip(old.splitlines(), new.splitlines())
    return next(f"{a.strip()}  ->  {b.strip()}" for a, b in pairs if a != b)


class Changed(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Imports a module from a changed source."""

    def __init__(self, mutant: Mutant) -> None:
        name = mutant.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        super().__init__(name, str(ROOT / mutant.file))
        self._source = mutant.source

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Find the module itself only."""
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> Any:
        """Compile what is not on the disk."""
        return compile(self._source, self.path, "exec", dont_inherit=True)


class NoClock:
    """Lets a test take its time: on a busy machine one that is late would count as one that sees.

    Only the time of the processor is limited.
    """

    def pytest_timeout_set_timer(self, item: Any, settings: Any) -> bool:
        """Say to pytest-timeout that a timer is set."""
        return True


def status_of_tests(mutant: Mutant | None, tests: list[str], seconds: int = SECONDS) -> int:
    """Return the status of pytest in a fork, or of the signal that ended it."""
    child = os.fork()
    if not child:
        status = 3
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            signal.alarm(20 * seconds)  # one that waits for ever
            os.setpgid(0, 0)
            for stream in (1, 2) if mutant else ():
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            if mutant:
                sys.meta_path.insert(0, Changed(mutant))
            import pytest

            with tempfile.TemporaryDirectory() as folder:
                os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
                # A file that pytest is given it rewrites from the disk, without the change.
                how = ["-xq", "--assert=plain", "-pno:cacheprovider", "--hypothesis-seed=0"]
                how = [*how, f"--basetemp={folder}/t", *tests]
                status = int(pytest.main(how, plugins=[NoClock()]))
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def preload() -> None:
    """Import what all tests take from others, and nothing of ours."""
    for name in LIBRARIES.split():
        importlib.import_module(name)
    assert not {"fastopt", "sweeps"} & {*sys.modules}


def score_of(
    file: str, tests: list[str], most: int, show: bool, last: dict[str, Any] | None
) -> dict[str, Any]:
    """Try the mutants of a file, or those that ``last`` left, and return what became of them."""
    excused = tomllib.loads((HERE / "equivalents.toml").read_text()).get(file, ())
    same = {each["line"] for each in excused}
    assert status_of_tests(None, tests) == 0, f"{file}: its tests fail without any change"
    began, mutants, killed = time.perf_counter(), mutants_of(file, most), 0
    if last is not None:
        left = [mutant for mutant in mutants if mutant.line in {*last["survivors"], *same}]
        killed, mutants = len(mutants) - len(left), left
        assert killed == last["killed"], f"{file}: it has changed, try it whole"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ends = list(pool.map(lambda mutant: status_of_tests(mutant, tests), mutants))
    assert not {3, 4, 5} & {*ends}, f"pytest could not run {tests}"
    unseen = [mutant.line for mutant, end in zip(mutants, ends) if end == 0]
    survivors = [line for line in unseen if line not in same]
    for line in survivors if show else ():
        print(f"not seen in {file}: {line}")
    score = {
        "killed": killed + len(mutants) - len(unseen),
        "equivalent": len(unseen) - len(survivors),
        "survivors": survivors,
        "seconds": round(time.perf_counter() - began),
    }
    print(file, score, flush=True)
    return score


def known_scores() -> dict[str, dict[str, Any]]:
    """Return what is known, by kind and file."""
    return json.loads(SCORE.read_text()) if SCORE.exists() else {}


def main() -> None:
    """Try all files, or those of the kinds or names given, and note their scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wanted", nargs="*", help="rules, schedules, validation, store, or files")
    parser.add_argument("--show", action="store_true", help="say which changes nobody saw")
    parser.add_argument("--again", action="store_true", help="only changes nobody saw last time")
    given = parser.parse_args()
    os.chdir(ROOT)
    preload()
    for kind, table in tomllib.loads((HERE / "targets.toml").read_text()).items():
        for file, tests in table["files"].items():
            if not given.wanted or {kind, file} & {*given.wanted}:
                last = known_scores()[kind][file] if given.again else None
                score = score_of(file, tests, table["most"], given.show, last)
                known = known_scores()  # another run may have written meanwhile
                known.setdefault(kind, {})[file] = score
                SCORE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
