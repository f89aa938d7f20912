"""Grokking: a network that knows all sums it was shown learns to add, if its weights decay.

Sums modulo a prime, as in Power et al. (arXiv:2201.02177), by a network of one hidden layer. Both
summands are one-hot, so its first layer is an embedding of each and a sum. How much of the table
it must see depends on the decay, and none or too much of it does not do. With --full modulo 97.
"""

import numpy as np

from sweeps import problems, sweep
from sweeps.studies import Findings, main

DECAYS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
SHARES = (0.3, 0.4, 0.5, 0.6, 0.69)


def table(modulus):
    """All sums of two numbers, each number a row of the identity matrix."""
    first, second = np.divmod(np.arange(modulus**2), modulus)
    one_hot = np.eye(modulus)
    return np.hstack([one_hot[first], one_hot[second]]), (first + second) % modulus


def study(full=False):
    found, modulus, epochs, batch = Findings(), *((97, 400, 512) if full else (31, 1500, 64))
    X, y = table(modulus)
    problem = problems.mlp(X, y, validation=0.3, hidden=(64,), standardize=False, name="sums")
    space = {"weight_decay": DECAYS, "n_train": [int(share * len(y)) for share in SHARES]}
    how = {"optimizer": "adamw", "lr": 0.01 if full else 0.03, "batch_size": batch}
    how |= {"epochs": epochs, "eval_every": 10 * -(-len(problem.X) // batch), "progress": False}
    result = sweep(problem, space, **how, metric="val_accuracy", curves=True)
    frame, curves = result.to_frame(), result.curves()
    seen = frame.pivot(index="weight_decay", columns="n_train", values="train_accuracy")
    new = frame.pivot(index="weight_decay", columns="n_train", values="val_accuracy")
    found.tables["accuracy on sums never seen"] = new.round(3).reset_index()
    found.at_least("without decay, sums that were shown", 0.99, seen.loc[0.0].min())
    bound = 0.65 if full else 0.1
    found.at_most("without decay, other sums, most shown", bound, new.loc[0.0].max())
    found.at_least("with decay, other sums, most shown", 0.8, new.iloc[:, -1].max())
    found.at_most("with decay, other sums, fewest shown", 0.1, new.iloc[:, 0].max())
    best, most = new.iloc[:, -1].idxmax(), new.columns[-1]
    found.at_least("too much decay costs", 0.2, new.loc[best, most] - new.loc[3.0, most])
    (trial,) = frame.trial_id[(frame.weight_decay == best) & (frame.n_train == most)]
    path = curves[curves.trial_id == trial].set_index("step")
    known, learned = (path.train_loss < 0.5).idxmax(), (path.val_accuracy > 0.8).idxmax()
    found.at_least("steps to other sums, by those to the ones shown", 2.0, learned / known)

    @found.figure
    def draw(figure):
        left, right = figure.subplots(1, 2)
        for decay, row in new.iterrows():
            left.plot(SHARES, row, "o-", label=f"decay {decay:g}")
        left.set(xlabel="share of the table shown", ylabel="accuracy on other sums"), left.legend()
        for name in ("train_loss", "val_accuracy"):
            right.semilogx(path.index, path[name], label=name)
        right.set(xlabel="step", title=f"decay {best:g}"), right.legend()

    return found


if __name__ == "__main__":
    main(__file__)
