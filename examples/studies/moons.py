"""S3. From normalised gradients to Adam: steps of a fixed size bounce, steps with memory arrive.

Then two moons by a 2-10-1 network, whose gradients are summed over the full batch. A tutorial
with a sign slip prints NaN from epoch 100 on; here such a run is DIVERGED, with the step.
"""

import numpy as np
from sklearn.datasets import make_moons
from sklearn.model_selection import train_test_split

from fastopt import maths
from sweeps import plots, problems, sweep, trace
from sweeps.studies import Findings, main

RAVINE = {"sgd": 0.45, "momentum": 0.1, "adam": 0.1}  # optimizer: lr
FORGETFUL = {"beta1": 0.0, "beta2": 0.0}
LOSSES = {0: "1.67888", 100: "0.30518", 500: "0.14301", 900: "0.08496"}
NET = {"hidden": (10,), "activation": "tanh", "loss": "logistic", "dtype": "float64"}
HOW = {"optimizer": "adam", "lr": 0.01, "epochs": 1000, "batch_size": 700}


def two_moons():
    data, draws = make_moons(1000, noise=0.2, random_state=42), np.random.RandomState(42)
    X, X_test, y, y_test = train_test_split(*data, test_size=0.3, random_state=42)
    theta0 = np.concatenate([draws.randn(20), np.zeros(10), draws.randn(10), np.zeros(1)])
    net = problems.mlp(X, y, X_test, y_test, theta0=theta0, standardize=False, **NET)
    return problems.summed(net)


def ravine(phi0, phi1):  # no gradient: the engine takes differences
    along, across = 0.5 * (phi0 - 0.7), 2.0 * phi1
    return 1.0 - maths.exp(-0.5 * across * across) * maths.exp(-0.5 * along * along)


def study(full=False):
    found, bowl = Findings(), problems.ellipse()
    bouncing, settled = (trace(bowl, "adam", lr=0.3, steps=300, **b) for b in (FORGETFUL, {}))
    last = bouncing.update_x.abs().iloc[-1], settled.update_x.abs().iloc[-1]
    found.check("without memory: size of the last step", 0.3, last[0], 1e-6)
    found.at_most("with memory: size of the last step", 1e-3, last[1])
    how = HOW | {"curves": True, "metric": "test_accuracy", "mode": "max", "progress": False}
    result, slip = (sweep(two_moons(), {"maximize": [up]}, **how) for up in (False, True))
    loss = result.curves().train_loss
    for epoch, published in LOSSES.items():
        found.check(f"loss at epoch {epoch}", published, loss[epoch])
    found.check("test accuracy", "0.98", result.best_score_)
    found.check("with the sign slip: test accuracy", "0.143", slip.best_score_)
    slip = sweep(two_moons(), {"maximize": [True]}, diverge_above=10.0, **how).to_frame().iloc[0]
    found.check("with the sign slip, and losses above 10 refused", "DIVERGED", slip.state)
    found.at_most("with the sign slip: diverged at step", 100, slip.diverged_step)

    surface = problems.landscape(ravine, start=(-1.5, 0.9), optimum=(0.7, 0.0))
    paths = {name: trace(surface, name, lr=lr, steps=300) for name, lr in RAVINE.items()}
    for name, path in paths.items():
        away = np.hypot(path.phi0.iloc[-1] - 0.7, path.phi1.iloc[-1])
        found.at_most(f"ravine, {name}: distance after 300 steps", 1e-2, away)

    @found.figure
    def draw(figure):
        figure.set_size_inches(11, 4)
        left, middle, right = figure.subplots(1, 3)
        plots.paths(surface, paths, ax=middle)
        left.plot(bouncing.step, bouncing.x, lw=1, label="m = g, v = g²")
        left.plot(settled.step, settled.x, label="Adam")
        right.semilogy(loss, label="two moons")
        right.plot([*LOSSES], [float(v) for v in LOSSES.values()], "k*", ms=12, label="published")
        left.set(xlabel="step", ylabel="x, in a bowl"), left.legend()
        right.set(xlabel="epoch", ylabel="loss"), right.legend()

    return found


if __name__ == "__main__":
    main(__file__)
