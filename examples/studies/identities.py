"""Identities: optimizers that are others in disguise, over 200 learning rates.

A huge eps turns Adam without momentum into SGD and RMSprop with momentum into the heavy ball, with
lr / eps (Choi et al., arXiv:1910.05446); decoupled decay of SGD is L2 (AdamW paper, Prop. 1).
"""

import numpy as np

from sweeps import problems, sweep
from sweeps.studies import Findings, main

EPS, HEAVY, RATES = 1e15, {"momentum": 0.9}, np.geomspace(1e-5, 1e-3, 200)
BALL = "momentum", 1.0, HEAVY
TWINS = {  # what: (optimizer, factor of lr, options) twice
    "momentum 0 = SGD": (("momentum", 1.0, {"momentum": 0.0}), ("sgd", 1.0, {})),
    "average, lr / (1 - mu) = heavy ball": (("momentum", 10.0, HEAVY | {"form": "ema"}), BALL),
    "velocity form = heavy ball": (("momentum", 1.0, HEAVY | {"form": "velocity"}), BALL),
    "Adam, beta1 0, eps 1e15 = SGD": (("adam", EPS, {"beta1": 0.0, "eps": EPS}), ("sgd", 1.0, {})),
    "RMSprop, eps 1e15 = heavy ball": (("rmsprop_momentum", EPS, HEAVY | {"eps": EPS}), BALL),
    "SGD, decoupled decay = SGD, L2": (
        ("sgd", 1.0, {"weight_decay": 0.1, "decoupled": True}),
        ("sgd", 1.0, {"weight_decay": 0.1}),
    ),
    "AdamW, no decay = Adam": (("adamw", 1.0, {"weight_decay": 0.0}), ("adam", 1.0, {})),
}


def study(full=False):
    found, valley, iris = Findings(), problems.rosenbrock(), problems.iris(hidden=(8,))
    how = {"steps": 5000 if full else 300, "progress": False}
    for title, twins in TWINS.items():
        ends = [
            sweep(valley, {"lr": factor * RATES}, optimizer=name, **how, **options).to_frame()
            for name, factor, options in twins
        ]
        ours, theirs = (end[["x", "y"]].to_numpy() for end in ends)
        error = np.abs(ours / theirs - 1).max()
        found.check(f"{title}: largest relative difference", 0.0, error, 1e-10)
    how = {"epochs": 5, "batch_size": len(iris.X), "progress": False, "lr": 0.01}
    for seed in (1, 2):
        orders = {"seed": [seed], "shuffle": ["epoch", "once", "none"]}
        loss = sweep(iris, orders, **how).to_frame().train_loss
        found.check(f"seed {seed}: one batch of all rows, orders that matter", 1, loss.nunique())
    grid = {"lr": [0.1, 0.01, 0.001], "seed": [0, 1]}
    turned = {"seed": [1, 0], "lr": [0.001, 0.1, 0.01]}
    frames = [sweep(iris, g, epochs=5, progress=False).to_frame() for g in (grid, turned)]
    a, b = (f.sort_values(["lr", "seed"])[["train_loss", "test_loss"]].to_numpy() for f in frames)
    found.check("a permuted grid is a permuted frame, bit for bit", True, np.array_equal(a, b))
    return found


if __name__ == "__main__":
    main(__file__)
