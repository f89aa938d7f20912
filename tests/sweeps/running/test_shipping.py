"""Sweeps that are sent to another process arrive as what they were, ready to be compiled."""

import importlib
import pickle
import threading

import cloudpickle
import numba
import numpy as np
import pytest

from fastopt.compile import fingerprint, inlinable, jitable, kernel, registration
from fastopt.errors import ExecutorError
from sweeps import problems, sweep_callable
from sweeps.common.pickling import OtherCode, OtherImport, pack, pack_job, unpack
from sweeps.problems import PROBLEMS
from tests.helpers.compiled import call_template
from tests.helpers.importing import IMPORTING


def by_value(function):
    """A function no other process can import, closed over one that it calls."""
    inner = jitable(lambda x: function(x) + 1.0)
    return inlinable(lambda x: 2.0 * inner(x))


def module_level(x):
    return x * x


def loss(theta, X, y, aux, grad):
    grad[:] = theta
    return 0.5 * np.sum(theta * theta)


OWN = {
    "landscape": lambda: problems.landscape(lambda x: (x * x, (2.0 * x,)), start=(1.0,), name="f"),
    "differences": lambda: problems.landscape(module_level, start=(1.0,)),
    "custom": lambda: problems.custom(loss, np.ones(2), np.ones((3, 1)), np.ones(3)),
}


def functions_of(problem):
    names = ("value_and_grad", "loss_and_grad", "evaluate", "init")
    return [getattr(problem, name) for name in names if hasattr(problem, name)]


@pytest.mark.parametrize("make", [*PROBLEMS.values(), *OWN.values()], ids=[*PROBLEMS, *OWN])
def test_a_problem_arrives_with_the_same_kernels(make):
    """The fingerprint names the file of the compiled code: the worker finds what is cached."""
    problem = make()
    arrived = unpack(pack(problem))
    assert arrived is not problem
    assert repr(arrived) == repr(problem)
    for before, after in zip(functions_of(problem), functions_of(arrived)):
        assert fingerprint(before) == fingerprint(after)
        assert after.__qualname__ == before.__qualname__
        assert registration(after) == registration(before) is not None
    for before, after in zip(problem.aux, arrived.aux):
        np.testing.assert_array_equal(before, after)


def test_what_arrives_compiles():
    """Numba compiles a call of a plain function only where that function is registered."""
    arrived = unpack(pack(by_value(jitable(module_level))))
    assert kernel(call_template, arrived)(3.0) == 20.0


def test_what_a_user_sends_compiles_without_registration():
    lost = cloudpickle.loads(cloudpickle.dumps(by_value(lambda x: x - 1.0)))
    assert lost(3.0) == 6.0
    assert kernel(call_template, lost)(3.0) == 6.0


def test_equal_parcels_are_opened_once():
    payload = pack(OWN["landscape"]())
    assert unpack(payload) is unpack(bytes(bytearray(payload)))


def test_what_cannot_be_sent_is_refused():
    lock = threading.Lock()
    with pytest.raises(ExecutorError, match=r"cannot be sent.*lock.*threads"):
        pack(lambda: lock.acquire())


def test_a_worker_that_lacks_a_module_says_so():
    payload = pickle.dumps(module_level).replace(b"test_shipping", b"test_shopping")
    with pytest.raises(ExecutorError, match="a worker cannot unpack the sweep: No module named"):
        unpack(payload)


MODULE = """
import threading
from numba import njit
import constants_of_a_module
K = 1.0
lock = threading.Lock()  # cannot be sent, and is not read
@njit
def helper(x):
    return x * K
class Objective:
    def __init__(self):
        self.rate = 1.0
    def method(self, config):
        return config["x"] * self.rate * K
def function(config):
    return helper(config["x"]) * constants_of_a_module.K
def above(config):
    return function(config) + K
"""


def test_workers_run_what_a_module_is_now(tmp_path, monkeypatch):
    """Not what stands in its file: a number may be set, and a file edited and loaded again."""
    (tmp_path / "changed_module.py").write_text(MODULE)
    (tmp_path / "constants_of_a_module.py").write_text("K = 1.0")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("changed_module")
    objective = module.Objective()

    def through_modules(config):
        return module.above(config) + module.constants_of_a_module.K

    for function in (module.function, module.above, objective.method, through_modules):
        for k in (1.0, 2.0):
            module.K = module.constants_of_a_module.K = objective.rate = k
            module.helper = numba.njit(module.helper.py_func)  # Numba keeps what it has read
            result = sweep_callable(function, {"x": [3.0]}, executor="processes", progress=False)
            assert result.to_frame()["value"].tolist() == [function({"x": 3.0})]
    payload = pack_job(module.function)
    module.K += 1.0
    with pytest.raises(OtherCode, match="is not what it is in the process that started the sweep"):
        unpack(payload)


@pytest.mark.parametrize("name", ["direct", "by_helper"])
def test_what_is_imported_as_it_runs_is_the_same_or_refused(name, tmp_path, monkeypatch):
    """It would be what stands in the worker's file, whatever is sent."""
    (tmp_path / "importing_module.py").write_text(IMPORTING)
    (tmp_path / "imported_as_it_runs.py").write_text("K = 1.0")
    monkeypatch.syspath_prepend(tmp_path)
    function = getattr(importlib.import_module("importing_module"), name)
    imported = importlib.import_module("imported_as_it_runs")
    monkeypatch.setattr(imported, "K", 1.0)
    how = {"executor": "processes", "n_jobs": 1, "progress": False}
    result = sweep_callable(function, {"x": [3.0]}, **how)
    assert result.to_frame()["value"].tolist() == [1.0]
    imported.K = 2.0
    with pytest.raises(OtherImport, match=r"imported_as_it_runs is not what it is.* at the top"):
        sweep_callable(function, {"x": [3.0]}, **how)
