"""Heavy-ball stability: a million trainings draw the line lr = (2 + 2 mu) / curvature.

Gradient descent with momentum on a bowl of curvatures 1 and 10. Above the line a step overshoots
by more than momentum takes back. The map's edge follows the formula to one cell.
"""

import numpy as np

from sweeps import linspace, problems, sweep
from sweeps.studies import Findings, main


def study(full=False):
    found, n = Findings(), 1000 if full else 150
    space = {"momentum": linspace(0.0, 0.99, n), "lr": linspace(0.45 / n, 0.45, n)}
    how = {"optimizer": "momentum", "steps": 2000, "diverge_above": 1e6, "progress": False}
    frame = sweep(problems.ellipse(10.0), space, **how).to_frame()
    mu, lr = np.linspace(0.0, 0.99, n), np.linspace(0.45 / n, 0.45, n)
    loss = frame.train_loss.where(frame.state == "COMPLETE", np.inf).to_numpy().reshape(n, n)
    stable = loss < 55.0  # that of the start
    cell = 0.45 / n
    edge = (stable.sum(axis=1) + 0.5) * cell  # between the last stable lr and the next
    error = np.abs(edge - (2 + 2 * mu) / 10) / cell
    found.at_most("largest distance of the edge from (2 + 2 mu) / 10, in cells", 1.0, error.max())
    found.check("rows with a single edge", n, int((np.diff(stable) != 0).sum(axis=1).max() * n))
    found.check("edge without momentum, 2 / 10", 0.2, edge[0], cell)
    found.check("trainings", n * n, len(frame))

    @found.figure
    def draw(figure):
        axes = figure.subplots()
        shown = np.log10(np.where(stable, np.maximum(loss, 1e-30), np.nan))
        image = axes.pcolormesh(lr, mu, shown, cmap="cividis", rasterized=True)
        axes.plot((2 + 2 * mu) / 10, mu, "w--", label="(2 + 2 mu) / 10")
        figure.colorbar(image, label="log10 of the loss after 2 000 steps")
        axes.set(xlabel="lr (grey: diverged)", ylabel="momentum", facecolor="0.7")
        axes.legend(loc="upper left")

    return found


if __name__ == "__main__":
    main(__file__)
