"""What a program does first, stage by stage, in an interpreter of its own: see test_compile.py.

python -m bench.compile_stages networks

It prints a JSON list: what was done, the seconds it took, the functions and bytes it put into the
cache of compiled code, whichever process compiled them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

stages: list[dict[str, Any]] = []


def cached() -> tuple[int, int]:
    """Return the number of functions in the cache, and their bytes."""
    # Found by the name of the folder: to ask fastopt would import what is timed.
    sizes = [path.stat().st_size for path in Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbc")]
    return len(sizes), sum(sizes)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Note down how long the block takes, and what it compiles."""
    functions, size = cached()
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    now = cached()
    stages.append(
        {"what": what, "seconds": seconds, "functions": now[0] - functions, "bytes": now[1] - size}
    )


def optimizers(quick: bool) -> None:
    """Take steps on NumPy arrays."""
    with stage("`import fastopt`"):
        import fastopt
    import numpy as np

    from bench.test_step import step_of
    from tests.helpers.cases import PLAIN

    def step(make: Callable[..., Any], dtype: Any = np.float32) -> None:
        make(np.ones(9, dtype), lr=0.1).step(np.ones(9, dtype))

    with stage("a first step, of `AdamW`"):
        step(fastopt.AdamW)
    with stage("a second optimizer, `SGD`"):
        step(fastopt.SGD)
    with stage("`AdamW` in float64"):
        step(fastopt.AdamW, np.float64)
    with stage("`AdamW` on an array of 100 000, in parallel"):
        fastopt.AdamW(np.ones(100_000, np.float32)).step(np.ones(100_000, np.float32))
    for case in PLAIN[:2] if quick else PLAIN:
        with stage(f"then {case.rule_name}"):
            step_of(case.rule, 9)()


def adapter(quick: bool) -> None:
    """Take steps on tensors."""
    import torch

    with stage("`import fastopt.torch`, torch being there"):
        from fastopt.torch import AdamW
    with stage("the adapter's first step, `AdamW` of 30 tensors"):
        params = [torch.nn.Parameter(torch.ones(100)) for _ in range(30)]
        for p in params:
            p.grad = torch.ones_like(p)
        AdamW(params).step()


def least_squares(theta, X, y, aux, grad):
    """Return a user's loss."""
    loss = 0.0
    for j in range(grad.size):
        grad[j] = 0.0
    for i in range(X.shape[0]):
        error = -y[i]
        for j in range(theta.size):
            error += theta[j] * X[i, j]
        loss += 0.5 * error * error / X.shape[0]
        for j in range(theta.size):
            grad[j] += error * X[i, j] / X.shape[0]
    return loss


def networks(quick: bool) -> None:
    """Sweeps of networks on data."""
    with stage("`import sweeps`"):
        from sweeps import problems, sweep
    import numpy as np

    how: dict[str, Any] = {"epochs": 1, "progress": False}
    space = {"lr": [0.1, 0.01]}
    make = problems.iris if quick else problems.digits
    with stage("first sweep of a network on digits"):
        sweep(make(hidden=(32,)), space, optimizer="adam", **how)
    with stage("a second optimizer, `sgd`"):
        sweep(make(hidden=(32,)), space, optimizer="sgd", **how)
    with stage("another width"):
        sweep(make(hidden=(48,)), space, optimizer="adam", **how)
    with stage("another schedule"):
        sweep(make(hidden=(32,)), space, optimizer="adam", schedule="cosine", **how)
    with stage("another activation"):
        sweep(make(hidden=(32,), activation="tanh"), space, optimizer="adam", **how)
    if quick:
        return
    with stage("another loss: a regression on diabetes"):
        sweep(problems.diabetes(hidden=(32,)), space, optimizer="adam", **how)
    with stage("another dtype, float64"):
        sweep(make(hidden=(32,), dtype="float64"), space, optimizer="adam", **how)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 4)).astype(np.float32)
    with stage("a user's loss, float32"):
        own = problems.custom(least_squares, np.zeros(4, np.float32), X, X[:, 0])
        sweep(own, space, optimizer="adam", **how)


def bowl(x, y):
    """Return a user's landscape."""
    return 3.0 * x * x + (y - x) * (y - x)


def landscapes(quick: bool) -> None:
    """Sweeps of functions."""
    with stage("`import sweeps`"):
        from sweeps import problems, sweep
    how: dict[str, Any] = {"steps": 10, "progress": False}
    space = {"lr": [0.1, 0.01]}
    with stage("first sweep of a landscape, Rosenbrock's"):
        sweep(problems.rosenbrock(), space, optimizer="adam", **how)
    with stage("a second optimizer, `sgd`"):
        sweep(problems.rosenbrock(), space, optimizer="sgd", **how)
    with stage("a user's landscape"):
        sweep(problems.landscape(bowl, start=(1.0, 1.0)), space, optimizer="adam", **how)


def command(quick: bool) -> None:
    """Begin the README's first command: a trial or a few of each kind."""
    with stage("`import` of the command line"):
        import sweeps.cli.commands  # noqa: F401
    import numba

    with stage("`fastopt sweep examples/digits.toml` until its first trial is finished"):
        from sweeps.cli.spec import read_spec
        from sweeps.engine.chunks import run_chunk

        plan = read_spec(Path(__file__).parents[1] / "examples" / "digits.toml").plan()
        ids = plan.space.every_value(("optimizer",))
        run_chunk(plan, ids, numba.get_num_threads())


PROGRAMS: dict[str, Callable[[bool], None]] = {
    "optimizers": optimizers,
    "adapter": adapter,
    "networks": networks,
    "landscapes": landscapes,
    "command": command,
}
"""Name -> what it does; each runs in an interpreter of its own, with a cache of its own."""


if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](sys.argv[2:] == ["--quick"])
    print(json.dumps(stages))
