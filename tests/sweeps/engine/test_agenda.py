"""Long trials first, whichever kernel they take; what ends one thread ends all."""

import threading

import numpy as np
import pytest

from sweeps import problems
from sweeps.engine import agenda as agenda_module
from sweeps.engine import queue
from sweeps.engine.agenda import Agenda
from sweeps.engine.chunks import Chunk, longest_first, run_chunk
from sweeps.running.check import check

SETTINGS = {"optimizer": "adam", "lr": 1e-3, "batch_size": 50, "seed": 0}


@pytest.fixture(scope="module")
def iris():
    return problems.iris(hidden=(8,))


def test_a_stop_ends_threads_that_wait_and_that_run(iris):
    """One of three has no trial and waits for one."""
    plan = check(iris, {"seed": range(2)}, {**SETTINGS, "epochs": 10**8}, 2)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    assert len(run_chunk(plan, np.arange(2), 3, stop=stop)) == 0


def test_an_exception_in_one_thread_ends_all(iris, monkeypatch):
    plan = check(iris, {"seed": range(2)}, {**SETTINGS, "epochs": 2}, 2)

    def fail(self):
        raise RuntimeError("out of memory, say")

    monkeypatch.setattr(agenda_module.TrialGroup, "run", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        run_chunk(plan, np.arange(2), 2)


def test_pieces_of_all_blocks_are_one_list_by_length(iris):
    axes = {"hidden": ["8", "16"], "epochs": [1, 40, 3, 41], "batch_size": [50]}
    plan = check(iris, axes, {"lr": 1e-2, "optimizer": "sgd"}, 2)
    blocks, agenda = plan.blocks(np.arange(plan.size)), Agenda()
    agenda.add(None, blocks)
    taken = list(iter(lambda: agenda._left and agenda._left.pop(0), []))
    assert [group.length for group in taken] == sorted((p.length for p in taken), reverse=True)
    items = [(id(p.block), int(i)) for p in taken for i in p._data[1]]
    assert len(items) == len(set(items)) == plan.size
    for group in taken:
        costs = group.block.item_cost[group._data[1]]
        assert costs.max() <= 1.2 * costs.min()
        assert group.control[queue.NEXT] == 0


def test_the_longest_chunk_goes_first_and_none_stays_in_place(iris):
    plan = check(iris, {"epochs": [1, 9, 4, 2]}, {"lr": 1e-2}, 2)
    chunks = [Chunk(k, np.array([k])) for k in range(4)]
    ordered = longest_first(plan, [*chunks[:3], None, None, chunks[3]])
    assert [c and c.number for c in ordered] == [1, 2, 0, None, 3]
