"""Grokking: a network that knows all sums it was shown learns to add, if its weights decay.

Sums modulo a prime, as in Power et al. (arXiv:2201.02177), by a network of one hidden layer on
embeddings of both summands. It knows the sums it was shown after a few hundred steps, and finds the
others many times later, within a window of decays: none does not do, and too much of it neither
(arXiv:2603.25009); the fewer sums are shown, the narrower the window. With --full modulo 97, 240
runs.
"""

import numpy as np

from sweeps import problems, sweep
from sweeps.studies import Findings, main

DECAYS, SHARES = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0), (0.3, 0.4, 0.5, 0.6, 0.69)
FULL_DECAYS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
FULL_SHARES = (0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.69)


def study(full=False):
    found, modulus, shares = Findings(), 97 if full else 31, FULL_SHARES if full else SHARES
    X = np.indices((modulus, modulus)).reshape(2, -1).T
    y = X.sum(axis=1) % modulus
    size = {"embed_dim": 32, "hidden": (128,)} if full else {"embed_dim": 16, "hidden": (64,)}
    problem = problems.mlp(X, y, embed=[0, 1], validation=0.3, name="sums", **size)
    space = {"weight_decay": FULL_DECAYS if full else DECAYS, "seed": range(3 if full else 1)}
    space["n_train"] = [int(share * len(y)) for share in shares]
    how = {"lr": 0.01, "batch_size": 512} if full else {"lr": 0.03, "batch_size": 64}
    how |= {"epochs": 400 if full else 700, "optimizer": "adamw", "eval_every": 100}
    result = sweep(problem, space, **how, metric="val_accuracy", curves=True, progress=False)
    frame, curves = result.to_frame(), result.curves()
    by = {"index": "weight_decay", "columns": "n_train"}
    seen, new = (frame.pivot_table(**by, values=f"{part}_accuracy") for part in ("train", "val"))
    found.tables["accuracy on sums never seen"] = new.round(3).reset_index()
    most, low, high = new.iloc[:, -1], new.index[0], new.index[-1]
    found.at_least("without decay, sums that were shown", 0.99, seen.loc[low].min())
    found.at_most("without decay, other sums, most shown", 0.3 if full else 0.1, most[low])
    found.at_least("with the best decay, other sums, most shown", 0.95, most.max())
    found.at_most("with too much decay, other sums, most shown", 0.1, most[high])
    found.at_most("with any decay, other sums, fewest shown", 0.1, new.iloc[:, 0].max())
    window, half = (new > 0.5).sum(), shares.index(0.5)
    found.at_least(
        "decays that do with most shown, beyond half", 1, window.iloc[-1] - window.iloc[half]
    )
    least = most.index[most > 0.8].min()
    of = (frame.weight_decay == least) & (frame.n_train == new.columns[-1])
    path = curves[curves.trial_id == frame.trial_id[of].iloc[0]].set_index("step")
    known, learned = (path.train_loss < 0.5).idxmax(), (path.val_accuracy > 0.8).idxmax()
    found.at_least("least decay: steps to other sums, by those to the shown", 5.0, learned / known)

    @found.figure
    def draw(figure):
        left, right = figure.subplots(1, 2)
        for decay, row in new.iterrows():
            left.plot(shares, row, "o-", label=f"decay {decay:g}")
        left.set(xlabel="share of the table shown", ylabel="accuracy on other sums"), left.legend()
        for name in ("train_loss", "val_accuracy"):
            right.semilogx(path.index, path[name], label=name)
        right.set(xlabel="step", title=f"decay {least:g}"), right.legend()

    return found


if __name__ == "__main__":
    main(__file__)
