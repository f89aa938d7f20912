"""What no program of ours would write: numbers without end, nesting, empty spaces, odd texts."""

import math
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sweeps
from fastopt.errors import FastoptError, SpecError, StateError, StoreError, shortened
from sweeps import Space, SweepResult, estimate, problems, sweep
from sweeps.cli.spec import read_spec
from sweeps.engine import trial
from sweeps.engine.options import Options
from sweeps.engine.plan import Plan
from sweeps.engine.seeds import mixed_seeds
from sweeps.pruning import PRUNERS
from tests.conftest import ROOT
from tests.helpers.stores import run, same_frames

# ---- numbers without end, in specs ----

DEEP = 5_000
VALUES = {
    "10^400": "1" + 400 * "0",
    "-10^400": "-1" + 400 * "0",
    "5 000 digits": 5_000 * "9",
    "2^63": str(2**63),
    "10^18": str(10**18),
    "1e999": "1e999",
    "nan": "nan",
    "-inf": "-inf",
    "5 000 lists": DEEP * "[" + DEEP * "]",
    "5 000 tables": DEEP * "{a=" + "1" + DEEP * "}",
    "a million letters": '"' + "x" * 10**6 + '"',
    "20 000 lists": "[" + 20_000 * "[]," + "]",
    "true": "true",
    "-1": "-1",
    "2.5": "2.5",
}
PLACES = {
    "$.space.lr": "lr = [{}]",
    "$.space.seed": "lr = [0.1]\nseed = [{}]",
    "$.space.batch_size": "lr = [0.1]\nbatch_size = [{}]",
    "$.space.hidden": "lr = [0.1]\nhidden = [{}]",
    "$.space.seed.range": "lr = [0.1]\nseed = {{ range = {} }}",
    "$.space.seed.range of three": "lr = [0.1]\nseed = {{ range = [0, 10, {}] }}",
    "$.space.lr.logspace": "lr = {{ logspace = [1e-3, 1.0, {}] }}",
    "$.space.lr.linspace": "lr = {{ linspace = [{}, 1.0, 3] }}",
    "$.sweep.seed": "seed = {}",
    "$.sweep.steps": "steps = {}",
    "$.sweep.target": "target = {}",
    "$.sweep.eval_every": "eval_every = {}\ncurves = true",
    "$.sweep.n_jobs": "n_jobs = {}",
    "$.problem.hidden": "hidden = [{}]",
    "$.problem": "split_seed = {}",
}
# What a number as large as this means there, and is allowed to.
ALLOWED = {
    ("$.space.lr", "10^18"), ("$.space.lr", "2.5"),
    ("$.space.seed", "10^18"), ("$.sweep.seed", "10^18"), ("$.space.batch_size", "10^18"),
    ("$.space.seed.range", "10^18"), ("$.space.seed.range of three", "10^18"),
    ("$.space.lr.logspace", "10^18"), ("$.space.lr.linspace", "10^18"),
    ("$.space.lr.linspace", "2^63"), ("$.space.lr.linspace", "2.5"),
    ("$.sweep.target", "10^18"), ("$.sweep.target", "2^63"), ("$.sweep.target", "2.5"),
    ("$.sweep.target", "-1"), ("$.sweep.eval_every", "10^18"),
    ("$.sweep.n_jobs", "10^18"), ("$.sweep.n_jobs", "2^63"), ("$.sweep.n_jobs", "10^400"),
    ("$.sweep.n_jobs", "-1"),
}  # fmt: skip


def spec_with(place, value):
    table = place.split(".")[1]
    lines = {
        "problem": 'name = "iris"',
        "sweep": "",
        "space": "" if table == "space" else "lr = 0.1",
    }
    lines[table] += "\n" + PLACES[place].format(value)
    if not place.endswith("steps"):
        lines["sweep"] += "\nepochs = 2"
    return "\n".join(f"[{name}]\n{text}" for name, text in lines.items())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("place", PLACES)
def test_numbers_without_end_are_refused_by_place(place, tmp_path):
    path = tmp_path / "x.toml"
    for name, value in VALUES.items():
        path.write_text(spec_with(place, value))
        if (place, name) in ALLOWED:
            assert read_spec(path).call(estimate).n_trials >= 1
            continue
        with pytest.raises(SpecError) as caught:
            read_spec(path).call(estimate)
        text = str(caught.value)
        # The value itself, or the line of what is no TOML that Python reads.
        assert ".".join(place.split(".")[:3]).split(" ")[0] in text or "x.toml: line " in text, text
        assert len(text) < 2_000


def test_a_model_that_cannot_fit_is_refused_with_numbers_before_anything_is_made(tmp_path):
    iris = problems.iris()
    for width in (2 * 10**8, 10**18, 2**63, 10**400):
        for hidden in (width, f"8-{width}"):
            with pytest.raises(SpecError, match="hidden") as caught:
                sweep(iris, {"lr": [0.1]}, epochs=1, hidden=hidden)
            assert len(str(caught.value)) < 2_000
        with pytest.raises(SpecError, match="hidden"):
            estimate(problems.iris(hidden=(width,)), {"lr": [0.1]}, epochs=1)
    with pytest.raises(SpecError, match=r"1,600,000,003 parameters and takes \d+ GB .* are free"):
        estimate(iris, {"lr": [0.1], "hidden": [8, 2 * 10**8]}, epochs=1)


def test_memory_of_models_and_data_is_in_the_estimate():
    """What a worker allocates, counted from the arrays themselves."""
    iris = problems.iris(hidden=(16, 8))
    options = Options(
        {**dict.fromkeys(("epochs", "hidden", "clip_norm", "patience")), "steps": 3, "seed": 0,
         "optimizer": "adam", "batch_size": 5, "schedule": "constant", "shuffle": "epoch"},
        "train_loss", "min", None, math.inf, None, False, measure=("grad_variance", "update_norm"),
    )  # fmt: skip
    (block,) = Plan(iris, Space({"lr": [0.1]}), options).blocks(np.array([0]))
    held = sum(a.nbytes for a in trial.scratch(block.table))
    assert block.scratch_bytes == held
    data = sum(a.nbytes for a in (iris.X, iris.y, iris.X_test, iris.y_test, *iris.aux))
    how = {"steps": 3, "batch_size": 5, "measure": ("grad_variance", "update_norm")}
    one, two = (estimate(iris, {"lr": [0.1]}, n_jobs=n, **how).training for n in (1, 2))
    assert (one - data, two - data) == (held, 2 * held)
    wider = estimate(iris, {"lr": [0.1], "hidden": ["16-8", "512-8"]}, n_jobs=1, **how).training
    assert wider > one + 4 * 512 * 4 * 3  # parameters of the first layer, and two slots


@pytest.mark.parametrize("steps", [2**53 + 1, 10**18, 2**63])
def test_steps_that_no_clock_can_count_are_refused(steps):
    with pytest.raises(SpecError, match=r"steps must be an integer >= 1 and at most"):
        estimate(problems.ellipse(), {"lr": [0.1]}, steps=steps)
    with pytest.raises(SpecError, match="epochs must be"):
        estimate(problems.iris(), {"lr": [0.1]}, epochs=steps // 3)


def test_a_curve_that_cannot_fit_is_refused_with_numbers():
    with pytest.raises(SpecError, match=r"[\d,]+ points of the curve of a trial .*eval_every"):
        estimate(problems.iris(), {"lr": [0.1]}, steps=2**50, curves=True, eval_every=1)


@pytest.mark.parametrize("dim", [10**5, 2 * 10**8, 10**400])
def test_a_matrix_that_cannot_fit_is_refused_with_numbers(dim):
    with pytest.raises(SpecError, match=r"random_quadratic: matrices of dim=.* are free"):
        problems.random_quadratic(dim)


@pytest.mark.parametrize("n", [2**53, 10**18, 2**63 - 1])
def test_spaces_of_any_size_are_looked_at(n):
    space = {"lr": [0.1], "seed": range(n)}
    assert estimate(problems.ellipse(), space, steps=1).n_trials == n
    assert Space(space)[: n // 2].every_value().max() == n // 2 - 1


SPEC = b"""[problem]
name = "iris"
hidden = [8, 16]
[sweep]
steps = 20
optimizer = "adam"
eval_every = 5
[space]
lr = { logspace = [1e-3, 1.0, 4] }
beta1 = [0.8, 0.9]
seed = { range = [0, 4, 2] }
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.soak)])
def test_a_changed_byte_of_a_spec_is_refused_or_makes_another_spec(count, tmp_path, counted):
    path, rng, refused = tmp_path / "x.toml", np.random.default_rng(0), 0
    for _ in range(count):
        mutant = bytearray(SPEC)
        for k in rng.integers(0, len(SPEC), rng.integers(1, 4)):
            mutant[k] = rng.integers(256) if rng.random() < 0.5 else rng.choice(list(b"0189-e.[{"))
        path.write_bytes(mutant)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert read_spec(path).call(estimate).n_trials > 0
        except FastoptError as error:
            refused += 1
            str(error).encode()
    assert refused > count / 2
    counted(count)


# ---- seeds ----

PATHS = {
    "keyword": lambda seed: estimate(problems.ellipse(), {"lr": [0.1]}, steps=1, seed=seed),
    "axis": lambda seed: estimate(problems.ellipse(), {"lr": [0.1], "seed": [seed]}, steps=1),
    "array": lambda seed: estimate(problems.ellipse(), {"seed": np.array([seed])}, steps=1),
    "data": lambda seed: estimate(problems.iris(), {"seed": [seed]}, epochs=1),
}


@pytest.mark.parametrize("path", PATHS)
def test_seeds_have_one_bound_on_every_path(path):
    make = PATHS[path]
    for seed in (0, 1, 2**53 + 1, 2**62, 2**63 - 1, np.int64(3), np.uint8(3), 2.0, np.float32(2)):
        assert make(seed).n_trials == 1
    for seed in (-1, 2**63, 2**64, 10**400, 0.5, math.nan, math.inf, True, np.True_, "1", -1.0):
        with pytest.raises(SpecError, match=r"seed|64 bits|finite"):
            make(seed)


@pytest.mark.parametrize("seed", [0, 2**53 + 1, 2**63 - 1, 2.0])
def test_specs_take_the_same_seeds(seed, tmp_path):
    path = tmp_path / "x.toml"
    for text in (f"seed = {seed}\n[space]\nlr = 0.1", f"[space]\nlr = 0.1\nseed = [{seed}]"):
        path.write_text(f'[problem]\nname = "ellipse"\n[sweep]\nsteps = 1\n{text}')
        assert read_spec(path).call(estimate).n_trials == 1


def test_large_seeds_are_kept_apart_and_read_back(tmp_path):
    seeds = [2**53, 2**53 + 1, 2**63 - 2, 2**63 - 1]
    space = {"lr": [0.1], "seed": seeds, "start_x": [1.0]}
    for mode in ("common", "independent"):
        store = tmp_path / mode
        result = run(store, space=space, seed_mode=mode)
        assert SweepResult.open(store).to_frame()["seed"].tolist() == seeds
        same_frames(SweepResult.open(store).to_frame(), result.to_frame())
        assert run(store, space=space, seed_mode=mode).info["reused"] == 4
    own = mixed_seeds(["adam"] * 4, [np.array(seeds)[:, None]])
    assert len(set(own.tolist())) == 4


# ---- empty ----

EMPTY = Space({"lr": [0.1, 0.2]})[:0]


@pytest.mark.parametrize(
    "how",
    [{}, *({"pruner": name} for name in PRUNERS), {"store": "x"}, {"executor": "threads"},
     {"curves": True}, {"seed_mode": "independent"}, {"reduce": sweeps.KeepBest(2)}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("space", [EMPTY, Space({"lr": [0.1]}).sample(0)], ids=["slice", "sample"])
def test_a_space_without_trials_is_refused_before_anything_is_made(how, space, tmp_path):
    if "store" in how:
        how = {"store": tmp_path / "store"}
    for problem, length in ((problems.ellipse(), "steps"), (problems.iris(), "epochs")):
        for call in (sweep, estimate):
            with pytest.raises(SpecError, match=r"no trials to run.*0 of"):
                call(problem, space, **{length: 3}, **how)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "values",
    [[], (), range(0), range(3, 3), np.array([]), np.zeros((0, 3)), np.zeros((3, 0))],
    ids=repr,
)
def test_an_axis_without_values_is_refused(values):
    for make in (
        lambda: Space({"lr": values}),
        lambda: sweeps.when(values, optimizer="sgd"),
        lambda: sweeps.zipped({"lr": values}),
        lambda: sweeps.choice(values, 3),
    ):
        with pytest.raises(SpecError, match=r"is empty|one-dimensional"):
            make()


def test_results_without_rows_answer_everything(tmp_path):
    run(tmp_path / "store", curves=True)
    for part in (tmp_path / "store/parts").iterdir():
        part.unlink()
    for result in (
        SweepResult.open(tmp_path / "store"),
        SweepResult.open(tmp_path / "store", filters=[("lr", ">", 1e9)]),
    ):
        assert len(result) == len(result.to_frame()) == len(result.best(3)) == 0
        assert len(result.curves()) == len(result.edges()) == sum(result.counts.values()) == 0
        assert "0 of 8 trials" in repr(result)
        assert result.save(tmp_path / "x.csv").read_text().startswith("trial_id,")
        assert len(SweepResult.open(result.save(tmp_path / "x.parquet"))) == 0
        assert "<html" in result.report(tmp_path / "x.html").read_text()


# ---- texts ----


class Unwritable:
    def __repr__(self):
        raise RuntimeError


def nested(depth):
    outer = inner = []
    for _ in range(depth):
        inner.append([])
        inner = inner[0]
    return outer


LARGE = {
    "list": list(range(10**6)),
    "dict": dict.fromkeys(range(10**6)),
    "text": "x" * 10**6,
    "bytes": b"x" * 10**6,
    "array": np.arange(10**6),
    "objects": np.array(["x" * 10**5] * 3, object),
    "integer": 10**5000,
    "deep": nested(10_000),
    "itself": (lambda a: a.append(a) or a)([]),
    "no repr": Unwritable(),
    "surrogate": "\ud83d",
}
QUOTED = {
    "axis": lambda v: Space({"lr": [v, None]}),
    "space": lambda v: Space(v),
    "part": lambda v: Space([v]),
    "name of an axis": lambda v: (
        estimate(problems.ellipse(), {v if len(v) else "": 1}, steps=1)
        if isinstance(v, str)
        else Space({(1, 2): [0.1]})
    ),
    "metric": lambda v: estimate(problems.ellipse(), {"lr": 0.1}, steps=1, metric=v),
    "optimizer": lambda v: estimate(problems.ellipse(), {"lr": 0.1}, steps=1, optimizer=v),
    "seed": lambda v: estimate(problems.ellipse(), {"lr": 0.1}, steps=1, seed=v),
    "target": lambda v: estimate(problems.ellipse(), {"lr": 0.1}, steps=1, target=v),
    "lr": lambda v: estimate(problems.ellipse(), {}, steps=1, lr=v),
    "hidden": lambda v: estimate(problems.iris(), {}, steps=1, hidden=v),
    "problem": lambda v: estimate(v, {}, steps=1),
    "pruner": lambda v: estimate(problems.ellipse(), {}, steps=1, pruner=v),
    "linspace": lambda v: sweeps.linspace(v, 1.0, 3),
    "uniform": lambda v: sweeps.uniform(0, 1, v),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", QUOTED)
def test_errors_are_short_whatever_they_quote(where):
    for name, value in LARGE.items():
        with pytest.raises(FastoptError) as caught:
            QUOTED[where](value)
        text = str(caught.value)
        assert len(text) < 4_000, name
        text.encode()
        assert str(pickle.loads(pickle.dumps(SpecError(text)))) == text


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x) | st.tuples(x, x),
    )
)
def test_what_is_short_is_shown_in_full(value):
    full = repr(value)
    text = shortened(value)
    text.encode()
    assert len(text) <= 260
    if not isinstance(value, list | dict | tuple) and len(full) <= 200:
        assert text == full


@settings(max_examples=50)
@given(st.text(st.characters(categories=["Cs", "Ll", "So"]), min_size=1, max_size=9))
def test_names_and_values_are_text_that_can_be_written(text):
    writable = not any(0xD800 <= ord(c) < 0xE000 for c in text)
    for make in (lambda: Space({text: [1]}), lambda: Space({"a": [text]})):
        if writable:
            assert len(make()) == 1
        else:
            with pytest.raises(SpecError, match="surrogate"):
                make()


@pytest.mark.parametrize("name", ["st\udcffre", "st\0re"])
def test_paths_that_are_no_text_are_refused_by_name(name, tmp_path):
    for call in (
        lambda: run(tmp_path / name),
        lambda: SweepResult.open(tmp_path / name),
        lambda: run().save(tmp_path / f"{name}.csv"),
    ):
        with pytest.raises((StoreError, SpecError), match=r"no text|no folder|no such file"):
            call()
    assert not list(tmp_path.iterdir())


def test_text_of_any_language_is_a_path_and_a_value(tmp_path):
    store = tmp_path / "größe 日本 🎲"
    frame = run(store).to_frame()
    same_frames(frame, run().to_frame())
    same_frames(SweepResult.open(store).to_frame(), frame)
    assert len(SweepResult.open(run().save(store / "ö.parquet"))) == 8


# The command line, in a process whose terminal knows few characters.
COMMANDS = """
import sys
from pathlib import Path
from typer.testing import CliRunner
import sweeps.cli.commands as cli

def run(*args):
    sys.argv = ["fastopt", *args]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{args} ended with {end.code}")

spec = '[problem]\\nname = "ellipse"\\n[sweep]\\nsteps = 15\\n[space]\\nlr = [0.1, 0.2]\\n'
Path("grö.toml").write_bytes(b"\\xef\\xbb\\xbf" + spec.replace("\\n", "\\r\\n").encode())
run("list")
run("list", "--json")
run("study", "--list")
run("sweep", "grö.toml", "--dry-run")
run("sweep", "grö.toml", "--store", "größe", "--no-progress")
run("status", "größe")
run("status", "größe", "--json")
run("export", "größe", "ö.csv")
run("init", "ä.toml")
try:
    run("sweep", "grö.toml", "--out", "\\udcff.csv")
except RuntimeError as error:
    print(error)  # usage, before anything runs
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_the_command_line_writes_to_any_terminal(encoding, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(encoding, "replace")
    assert "größe".encode(encoding, "backslashreplace") in done.stdout
    assert b'"store": "gr\\u00f6\\u00dfe"' in done.stdout
    assert b"ended with 2" in done.stdout
    assert (tmp_path / "ö.csv").exists()


def test_state_of_huge_numbers_is_refused():
    import fastopt

    opt = fastopt.Adam(np.ones(3))
    opt.step(np.ones(3))
    saved = opt.state_dict()
    saved["state"][0]["step"] = 10**5000
    with pytest.raises(StateError, match="an integer of 16,610 bits"), warnings.catch_warnings():
        opt.load_state_dict(saved)
    for lr in (10**400, 10**5000, -(10**400)):
        with pytest.raises(FastoptError, match="must be finite"):
            fastopt.Adam(np.ones(3), lr=lr)
