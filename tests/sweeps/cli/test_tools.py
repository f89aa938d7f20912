"""``fastopt init`` and ``fastopt bench``, and the formulas and clocks behind them."""

import json

import numpy as np
import pytest

import fastopt
from sweeps.cli.bench import numpy_adam, time_alternating
from sweeps.cli.spec import read_spec
from sweeps.cli.tools import TEMPLATE
from tests.helpers.commands import call


def test_init_writes_a_spec_that_is_right(tmp_path):
    path = tmp_path / "first.toml"
    done = call("init", path)
    assert done.exit_code == 0
    assert read_spec(path).space.size == 2 * 13 * 3 * 3
    assert path.read_text() == TEMPLATE.format(name=path)


def test_init_replaces_nothing_unasked(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("mine")
    assert call("init", path).exit_code == 2
    assert path.read_text() == "mine"
    assert call("init", tmp_path / "mine.yaml").exit_code == 2
    assert call("init", path, "--force").exit_code == 0
    assert path.read_text() != "mine"


def test_bench_prints_ratios():
    document = json.loads(call("bench", "--quick", "--json").output)
    assert document["trials_per_second"] > 0
    (row,) = document["steps"]
    assert row["NumPy / ours"] > 0
    shown = call("bench", "--quick").output
    assert "1,000" in shown
    assert "trainings/s" in shown


def test_numpy_adam_is_adamw():
    p, g = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    q = p.copy()
    step, optimizer = numpy_adam(p, g, lr=0.1), fastopt.AdamW(q, lr=0.1)
    for _ in range(3):
        step()
        optimizer.step(g)
    np.testing.assert_allclose(p, q, rtol=1e-14)


def test_sides_alternate():
    calls = []
    time_alternating(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, least=0
    )
    assert calls[-4:] == ["a", "b", "a", "b"]


@pytest.mark.parametrize("command", ["init", "bench"])
def test_help_has_an_example(command):
    assert "Example" in call(command, "--help").output
