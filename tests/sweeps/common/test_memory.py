"""Memory does not grow with the number of trials, where it is not to.

Each sweep runs in a process of its own: the peak of one that runs other tests says nothing.
"""

import gc
import textwrap

import numpy as np
import pytest

from sweeps import problems, sweep

# Prints the peak of the resident memory after a small sweep, and then after a large one, in kB.
SCRIPT = """
    import resource
    from sweeps import SweepResult, KeepBest, histogram, linspace, problems, sweep

    def run(trials, **how):
        space = {"lr": linspace(0.01, 0.2, trials // 1000), "start_x": linspace(-9.0, 9.0, 1000)}
        return sweep(problems.ellipse(), space, optimizer="sgd", progress=False, **how)

    for n, name in (100_000, "small"), (TRIALS, "large"):
        WORK
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
FOLDED = """
        table = run(n, steps=1, reduce=histogram("x", [9.0]))
        assert table.COMPLETE.sum() == run(n, steps=1, reduce=KeepBest(5)).info["finished"] == n
"""
STORED = """
        result = run(n, steps=20, store=f"FOLDER/{name}")
        assert len(result) == n and SweepResult.open(f"FOLDER/{name}").save("FOLDER/all.parquet")
"""


def grown(python, work, trials, folder=""):
    code = SCRIPT.replace("        WORK", work).replace("TRIALS", str(trials))
    code = textwrap.dedent(code).replace("FOLDER", str(folder))
    small, large = map(int, python(code).stdout.split())
    return large - small


@pytest.mark.parametrize("trials", [300_000, pytest.param(10**8, marks=pytest.mark.soak)])
def test_folding_grows_by_less_than_100_mb(python, trials):
    assert grown(python, FOLDED, trials) < 100_000


@pytest.mark.parametrize("trials", [300_000, pytest.param(10**7, marks=pytest.mark.soak)])
def test_storing_and_exporting_grows_by_less_than_200_mb(python, tmp_path, trials):
    assert grown(python, STORED, trials, tmp_path) < 200_000


def objects_after(sweeps):
    for _ in range(sweeps):
        problem = problems.landscape(lambda x, y: x * x + 2.0 * y * y, start=(1.0, 1.0))
        assert (
            sweep(problem, {"lr": [0.1, 0.2]}, steps=2, progress=False).best().train_loss.min() < 3
        )
    gc.collect()
    return len(gc.get_objects())


def test_sweeps_of_a_function_that_is_written_anew_add_no_objects():
    """A cell that is run again defines its function again; what held the former ones held 26 kB."""
    counts = [objects_after(40)]  # more than what is remembered on purpose
    counts += [objects_after(60) for _ in range(3)]
    # The least of three: other tests of this process leave threads that still end or begin.
    assert min(np.diff(counts)) < 200
