"""Run the tests that hold the promises, and write ``reliability.md`` from what they counted.

``python docs/reliability.py`` runs the long forms, promise by promise, and notes each in
``reliability.json`` when it is over: what is interrupted keeps what it has. ``--only leaks`` runs
the promises with tests of that name, ``--short`` what the default run of pytest has, and what
stands behind ``--`` goes to pytest: ``python docs/reliability.py -- -n 2``. What
``python -m tests.mutation`` found stands on the page too; ``--page`` only writes that anew. A test
says how many cases it tried (fixture ``counted`` of ``tests/conftest.py``); one that does not say
is one case.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from pages import table

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGE = HERE / "reliability.md"
RUNS = HERE / "reliability.json"
SCORE = ROOT / "tests/mutation/score.json"
LIBRARIES = ("numpy", "numba", "llvmlite", "torch", "pandas", "pyarrow", "scikit-learn")


class Promise(NamedTuple):
    """What is promised, how many cases it is to be shown in at length, and the tests that do."""

    says: str
    wanted: int
    tests: tuple[str, ...]


def _in(folder: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"tests/{folder}/{test}" if folder else f"tests/{test}" for test in tests)


PROMISES = (
    Promise(
        "A bad option of an optimizer (NumPy, torch, at construction or between two steps) is "
        "refused by one error that names it, what was found and what is allowed; no byte changes",
        600,
        _in(
            "fastopt",
            "test_bad_inputs.py::test_a_bad_option_of_an_optimizer_over_arrays",
            "test_bad_inputs.py::test_a_bad_option_of_an_optimizer_over_tensors",
            "test_bad_inputs.py::test_a_bad_option_that_is_set_between_two_steps",
            "test_optimizer_errors.py::test_bad_hyperparameter",
        ),
    ),
    Promise(
        "So is an array that a kernel cannot use, as parameter, gradient or what is clipped",
        400,
        _in(
            "fastopt",
            "test_bad_inputs.py::test_a_bad_array",
            "test_arrays.py::test_bad_array_is_named_and_explained",
            "test_optimizer_errors.py::test_bad_gradients_are_refused_before_anything_is_written",
        ),
    ),
    Promise(
        "So is a value in a spec, by file and place",
        300,
        _in(
            "sweeps/cli",
            "test_bad_specs.py::test_a_bad_value_of_a_spec",
            "test_spec.py::test_broken_specs_are_told_where_and_what",
        ),
    ),
    Promise(
        "A command line that cannot be right ends with status 1 or 2 and one message, and no file "
        "is written",
        200,
        _in("sweeps/cli", "test_bad_commands.py::test_bad_command_lines"),
    ),
    Promise(
        "No loop touches memory beside its arrays: lengths x rules x serial and parallel x "
        "float32, float64, bfloat16, each array against pages that cannot be accessed",
        1_200 * 34 * 2,
        _in("fastopt", "test_guard_pages.py::test_arrays_between_pages_that_nobody_may_touch"),
    ),
    Promise(
        "Memory that is freed, resized, re-pointed, shared, read-only or replaced between two "
        "steps, or during one by another thread: followed or refused by name",
        60,
        _in("fastopt", "test_moving_memory.py", "test_transactions.py"),
    ),
    Promise(
        "omp and workqueue x threads, pools, fork, forkserver, spawn, grandchildren, loaders of "
        "torch, dask: the same bits, and an end",
        36,
        _in(
            "fastopt",
            "test_process_matrix.py::test_the_same_bits_in_every_thread_and_process",
            "test_threads.py::test_survives_with_the_same_bits",
        ),
    ),
    Promise(
        "8 Python threads x 500 steps equal a serial run (steps)",
        4_000,
        _in(
            "fastopt", "test_process_matrix.py::test_eight_threads_of_500_steps_equal_a_serial_run"
        ),
    ),
    Promise(
        "A corrupt cache of compiled code is a warning, and compiled again",
        200,
        _in(
            "fastopt",
            "test_process_matrix.py::test_a_corrupt_cache_is_compiled_again",
            "test_compile.py::test_damaged_cache_is_a_warning",
        ),
    ),
    Promise(
        "Processes that start at once with an empty cache: right results, one file",
        320,
        _in("fastopt", "test_process_matrix.py::test_many_start_at_once_with_an_empty_cache"),
    ),
    Promise(
        "A damaged file (checkpoint, model, part or document of a store, spec) is refused, or "
        "says the same",
        5_000,
        _in(
            "",
            "fastopt/test_checkpoint.py::test_any_damage_is_refused_or_says_the_same",
            "fastopt/test_checkpoint.py::test_every_truncation_is_refused",
            "fastopt/test_checkpoint.py::test_every_bit_of_the_tensors_counts",
            "sweeps/models/test_files.py::"
            "test_every_byte_flipped_is_refused_but_where_it_says_the_same",
            "sweeps/cli/test_foreign.py::"
            "test_a_changed_byte_of_a_spec_is_refused_or_makes_another_spec",
            "sweeps/store/test_store_damage.py::test_every_mutant_of_a_part_is_found",
            "sweeps/store/test_store_damage.py::test_readers_refuse_damage_or_are_right",
            "sweeps/store/test_store_damage.py::test_a_thousand_mutants_are_made_anew",
            "sweeps/store/test_store_strangers.py::"
            "test_a_changed_byte_of_a_document_is_found_or_says_the_same",
        ),
    ),
    Promise(
        "A file that somebody made to do harm is refused in our words: nothing of it runs, memory "
        "stays below twice the file and 50 MB",
        40,
        _in(
            "",
            "test_hostile_files.py",
            "sweeps/models/test_files.py::test_files_that_contradict_themselves_are_refused",
            "sweeps/store/test_store_strangers.py::test_an_axis_from_a_stranger_is_refused",
            "sweeps/store/test_store_strangers.py::test_a_document_of_another_form_is_damaged",
            "sweeps/store/test_store_strangers.py::"
            "test_documents_of_all_kinds_are_damaged_and_written_again",
        ),
    ),
    Promise(
        "Anything in any order between two steps: NumPy, torch and the formulas in float64 keep "
        "the same numbers (steps)",
        20_000,
        _in(
            "fastopt",
            "test_state_machine.py::test_anything_in_any_order",
            "test_state_machine.py::test_anything_in_any_order_at_length",
        ),
    ),
    Promise(
        "A sweep that is killed, at each operation on the disk and at random, then run again: the "
        "identical frame (deaths)",
        100,
        _in(
            "",
            "sweeps/store/test_store_crash.py::test_a_death_at_any_operation_changes_nothing",
            "sweeps/store/test_store_crash.py::"
            "test_a_death_at_any_operation_of_compact_changes_nothing",
            "sweeps/common/test_interrupt.py::test_killed_at_random_moments",
        ),
    ),
    Promise(
        "Ctrl-C at random moments: an end in time, what is finished is kept",
        50,
        _in("sweeps/common", "test_interrupt.py::test_ctrl_c_at_random_moments"),
    ),
    Promise(
        "`check_optimizer` and `check_problem`, the kits for optimizers and problems of your own: "
        "ours pass (checks), and each fault that is put in is found by the check of its name",
        500,
        _in("", "fastopt/test_conformance.py", "sweeps/tracing/test_conformance.py"),
    ),
    Promise(
        "Without what only Linux has (fcntl, fork, /proc, owners of files, ...): steps, stores, "
        "executors and commands do the same",
        19,
        _in("", "test_elsewhere.py"),
    ),
    Promise(
        "`FASTOPT_CPU=portable`: equal frames and steps whatever CPU Numba and BLAS are told of",
        14,
        _in("", "test_portable.py"),
    ),
    Promise(
        "Steps are counted past 2^24 and 2^31, by each optimizer as by torch in float64, and by a "
        "sweep (steps)",
        2 * (2**31 + 3),
        _in(
            "",
            "fastopt/test_torch.py::test_steps_past_what_float32_and_int32_count",
            "fastopt/test_clocks.py::test_any_step_is_loaded_and_stepped_from",
            "test_long_numbers.py::test_a_sweep_counts_its_steps",
        ),
    ),
    Promise(
        "Arrays of more than 2^31 elements: steps and norms (elements; those that the memory of "
        "the machine does not hold are skipped)",
        5 * (2**31 + 33),
        _in(
            "",
            "test_long_numbers.py::test_more_elements_than_32_bits_count",
            "test_long_numbers.py::test_a_norm_of_more_elements_than_32_bits_count",
        ),
    ),
    Promise(
        "Trials are folded as they run, whatever their number (trials)",
        10**9,
        _in("", "test_long_numbers.py::test_trials_are_folded_whatever_their_number"),
    ),
    Promise(
        "Optimizers and sweeps leave nothing behind: less than 5 MB, no file, no thread",
        10_200,
        _in("", "test_leaks.py"),
    ),
)

OPEN = """\
## What no test here shows yet

* `tbb` on a machine that runs the tests with it every time: its 24 cells of the matrix passed where
  pip had put it, and are skipped, with the reason, where it is not.
* Systems other than Linux on x86-64; portable frames on a second CPU that is one
  (an emulated one had the same bits, by hand: steps, a landscape and digits).
* The whole of pytest without what only Linux has: 9 678 of its first 9 710 tests passed so. Those
  of the other 32 that were looked at fork, make links or pipes, limit a process, or pickle what
  had been put in the place of `open`. Then one took all memory, which is refused since.
* Other versions of Python and of the libraries: `nox` runs the tests with them (`noxfile.py`).
"""


def run_of(promise: Promise, report: Path) -> dict[str, int]:
    """Return what the tests of a promise counted, of a JUnit report of them."""
    run = {"cases": 0, "failures": 0, "skipped": 0}
    for test in ElementTree.parse(report).iter("testcase"):
        file = test.get("classname", "").replace(".", "/") + ".py"
        name = f"{file}::{test.get('name', '').partition('[')[0]}"
        if not any(name == held or name.startswith(f"{held}::") for held in promise.tests):
            continue
        failed, skipped = (
            any(test.find(kind) is not None for kind in kinds)
            for kinds in (("failure", "error"), ("skipped",))
        )
        said = [p.get("value") for p in test.iter("property") if p.get("name") == "cases"]
        run["cases"] += 0 if failed or skipped else int(said[0] or 1) if said else 1
        run["failures"] += failed
        run["skipped"] += skipped
    return run


def row_of(promise: Promise, run: dict[str, Any]) -> tuple[str, ...]:
    """Return the row of a promise."""
    failed = f"{run['failures']}" + f" ({run['skipped']} skipped)" * bool(run["skipped"])
    wanted = f"{promise.wanted:,}" + " (reached)" * (run["cases"] >= promise.wanted)
    cases, spent = f"{run['cases']:,}", f"{run['processor']:,}" if "processor" in run else "-"
    return promise.says, cases, wanted, failed, spent, run["form"], run["date"], run["commit"]


def mutation(scores: dict[str, dict[str, dict[str, Any]]], wanted: dict[str, Any]) -> str:
    """Return what mutation testing found, of ``score.json``, in the files of ``targets.toml``."""
    header = "part", "files", "changes tried", "seen", "without effect", "not seen", "score", "s"
    rows = []
    for part, table_of in wanted.items():
        files, every = scores.get(part, {}), len(table_of["files"])
        seen, same, seconds = (
            sum(score[key] for score in files.values())
            for key in ("killed", "equivalent", "seconds")
        )
        unseen = sum(len(score["survivors"]) for score in files.values())
        numbers = map("{:,}".format, (seen + same + unseen, seen, same, unseen))
        share = f"{seen / (seen + unseen):.1%}" if seen else "-"
        rows.append((part, f"{len(files)} of {every}", *numbers, share, f"{seconds:,}"))
    missed = [
        f"* {file}: `{line}`"
        for files in scores.values()
        for file, score in files.items()
        for line in score["survivors"]
    ]
    return "\n\n".join(
        (
            "## Changes of the code that tests see",
            "`python -m tests.mutation` changes one place of a file (`+` into `-`, `<` into `<=`, "
            "a number by one, a condition into its contrary), and asks a few fast tests of that "
            "file: `tests/mutation/targets.toml` says which, and how many changes are drawn of a "
            "file that has more, always the same ones. A change without effect, such as another "
            "rounding, stands in `tests/mutation/equivalents.toml` with the reason.",
            table(header, rows),
            *(["Not seen:", "\n".join(missed)] if missed else []),
        )
    )


def tail() -> str:
    """Return what stands below the promises."""
    targets = tomllib.loads(SCORE.with_name("targets.toml").read_text())
    return f"{mutation(json.loads(SCORE.read_text()), targets)}\n\n{OPEN}"


def page(runs: dict[str, dict[str, Any]]) -> str:
    """Return the page, made from the last run of each promise."""
    header = "promise", "cases", "wanted", "failures", "processor s", "form", "day", "commit"
    rows = [row_of(promise, runs[promise.says]) for promise in PROMISES if promise.says in runs]
    machines = dict.fromkeys(runs[p.says]["machine"] for p in PROMISES if p.says in runs)
    return "\n\n".join(
        (
            "# Reliability",
            "What we promise of threads, processes, files and bad inputs, with how often a run of "
            "the tests tried it. This page is written by `python docs/reliability.py`, which runs "
            "those tests; no number in it is typed. What is read, and never executed, stands in "
            "`SECURITY.md`.",
            "Each row is the last run of its tests, in their long form or in the short one that "
            "the default run of pytest has; the commit is the last one that had changed the "
            "library. Wanted is what the long form is to try; a test that fails counts no cases.",
            table(header, rows),
            "**Run on:** " + "; ".join(machines) + ".",
            tail(),
        )
    )


def _output_of(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _commit() -> str:
    """Return the commit of the library: a later one of tests or pages does not change what ran."""
    library = ("--", "fastopt", "sweeps")
    commit = _output_of("git", "log", "-1", "--format=%h", *library).strip()
    return commit + " with changes" * bool(_output_of("git", "status", "--porcelain", *library))


def _machine() -> str:
    cpus = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", cpus.read_text()) if cpus.exists() else None
    cpu = named[1] if named else platform.machine()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{platform.system()}, {cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{libraries}"
    )


def _processor_time() -> float:
    """Return the seconds of a processor that processes took which are over."""
    used = os.times()
    return used.children_user + used.children_system


def run_tests(promise: Promise, is_short: bool, more: Sequence[str]) -> dict[str, Any]:
    """Run the tests of a promise, and return what they counted; a failure is counted, too."""
    marks = () if is_short else ("-m", "soak or not soak")
    command = [sys.executable, "-m", "pytest", "-q", *marks, *promise.tests, *more]
    about: dict[str, Any] = {"form": "short" if is_short else "long", "commit": _commit()}
    about |= {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": _machine()}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "run.xml"
        before = _processor_time()
        status = subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT).returncode
        about["processor"] = round(_processor_time() - before)
        if status not in (0, 1):  # interrupted, or no test could be run
            raise SystemExit(status)
        return {**run_of(promise, report), **about}


def main() -> None:
    """Run the promises, note each when it is over, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="only what the default run has")
    parser.add_argument("--only", help="promises that have tests with this in their names")
    parser.add_argument("--page", action="store_true", help="run nothing, write the page anew")
    parser.add_argument("more", nargs="*", help="arguments of pytest, after --")
    given = parser.parse_args()
    for promise in () if given.page else PROMISES:
        if given.only is None or any(given.only in test for test in promise.tests):
            run = run_tests(promise, given.short, given.more)
            runs = json.loads(RUNS.read_text()) if RUNS.exists() else {}
            known = {p.says: runs[p.says] for p in PROMISES if p.says in runs}
            RUNS.write_text(json.dumps({**known, promise.says: run}, indent=1) + "\n")
    PAGE.write_text(page(json.loads(RUNS.read_text())))


if __name__ == "__main__":
    main()
