"""Adam's bias correction: without it, slow second moments make the first steps far too long.

The paper's last experiment (arXiv:1412.6980, section 6.4) on a digits network instead of a VAE.
Without correction Adam is RMSprop with momentum at lr (1 - beta1). With beta2 = 0.9999 its first
step is a hundred times as long, and of the learning rates only much smaller ones train.
"""

import numpy as np
import pandas as pd

import fastopt
from sweeps import geomspace, problems, sweep
from sweeps.studies import Findings, main

BETAS = [(b1, b2) for b1 in (0.0, 0.9) for b2 in (0.99, 0.999, 0.9999)]


def study(full=False):
    found, digits = Findings(), problems.digits(hidden=(32,))
    lr = np.array(list(geomspace(1e-5, 1e-1, 41 if full else 9)))
    # After 10 epochs the losses at large learning rates are no better with the correction.
    how = {"epochs": 3, "batch_size": 64, "progress": False}
    seeds, losses, rows = range(5 if full else 1), {}, []
    for b1, b2 in BETAS:
        p, q, g = np.zeros(1), np.zeros(1), np.ones(1)
        fastopt.Adam(p, lr=1.0, betas=(b1, b2)).step(g)
        fastopt.RMSprop(q, lr=1.0 - b1, alpha=b2, momentum=b1).step(g)
        title = f"beta1 {b1}, beta2 {b2}: first step without over with correction"
        found.check(title, (1 - b1) / np.sqrt(1 - b2), (q / p).item(), 1e-3)
        with_it = {"lr": lr, "beta1": [b1], "beta2": [b2], "seed": seeds}
        without = {"lr": lr * (1 - b1), "momentum": [b1], "alpha": [b2], "seed": seeds}
        pair = {}
        for name, space in (("adam", with_it), ("rmsprop_momentum", without)):
            frame = sweep(digits, space, optimizer=name, **how).to_frame()
            loss = frame.train_loss.where(frame.state == "COMPLETE", np.inf)
            pair[name] = loss.groupby(frame.lr).mean().to_numpy()
        losses[b1, b2] = pair
        rows.append((b1, b2, *(loss.min() for loss in pair.values())))
        bad, good = pair["rmsprop_momentum"][-1], pair["adam"][-1]
        if b2 > 0.99:
            title = f"beta1 {b1}, beta2 {b2}: loss at lr 0.1, without over with"
            found.at_least(title, 10.0 if b2 > 0.999 else 2.0, bad / good)
    columns = ["beta1", "beta2", "best loss with", "best loss without"]
    found.show("at the best learning rates it matters little", pd.DataFrame(rows, columns=columns))

    @found.figure
    def draw(figure):
        for ax, ((b1, b2), pair) in zip(figure.subplots(2, 3, sharey=True).flat, losses.items()):
            for name, loss in zip(("with correction", "without"), pair.values()):
                ax.loglog(lr, loss.clip(1e-4, 1e2), label=name)
            ax.set(title=f"β₁ = {b1}, β₂ = {b2}")
        figure.supxlabel("learning rate"), figure.supylabel("loss after three epochs")
        ax.legend()

    return found


if __name__ == "__main__":
    main(__file__)
