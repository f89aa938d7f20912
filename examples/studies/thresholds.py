"""Stability thresholds: the largest learning rates of five optimizers on a curvature of 10.

Gradient descent 2 / L, heavy ball (2 + 2 mu) / L, Nesterov (2 + 2 mu) / ((1 + 2 mu) L), and Adam
with curvature L / eps after preconditioning (its eps dwarfs the gradients here): at beta1 = 0.9,
38 / lr, the edge that Cohen et al. (arXiv:2207.14484) see full-batch Adam walk along.
"""

import numpy as np

from sweeps import geomspace, problems, sweep
from sweeps.studies import Findings, main

L, MU, EPS = 10.0, 0.9, 1e60
LIMITS = {  # optimizer, its options: the largest stable lr
    "gradient descent": ("sgd", {}, 2 / L),
    "heavy ball": ("momentum", {"momentum": MU}, (2 + 2 * MU) / L),
    "averaged momentum": ("momentum", {"momentum": MU, "form": "ema"}, 38 / L),
    "Nesterov": ("nesterov", {"momentum": MU}, (2 + 2 * MU) / (1 + 2 * MU) / L),
    "Adam": ("adam", {"beta1": MU, "eps": EPS}, 38 * EPS / L),
}


def study(full=False):
    found, curves = Findings(), {}
    points, steps = (20_000, 20_000) if full else (2_000, 5_000)
    for name, (optimizer, options, limit) in LIMITS.items():
        space = {"lr": geomspace(limit / 2, limit * 2, points)}
        how = {"optimizer": optimizer, "steps": steps, **options}
        frame = sweep(problems.ellipse(L), space, progress=False, **how).to_frame()
        loss = frame.train_loss.where(frame.state == "COMPLETE", np.inf)
        edge, cell = frame.lr[loss < 55.0].max(), 4 ** (1 / (points - 1))
        title = f"{name}: largest stable lr over the formula's"
        found.check(title, 1.0, edge / limit, 2 * (cell - 1))
        curves[name] = frame.lr / limit, loss

    @found.figure
    def draw(figure):
        axes, (ratio, _) = figure.subplots(), curves["Adam"]
        ends = [np.log10(loss.clip(1e-30, 1e12)) for _, loss in curves.values()]
        image = axes.pcolormesh(ratio, range(len(ends)), ends, cmap="cividis", rasterized=True)
        axes.axvline(1.0, color="w", ls="--")
        axes.set(xlabel="lr over the threshold of the formula", xscale="log")
        axes.set_yticks(range(len(ends)), curves)
        figure.colorbar(image, label="log10 of the loss in the end")

    return found


if __name__ == "__main__":
    main(__file__)
