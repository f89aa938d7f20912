"""S6. Escaping a local minimum: nobody does, whatever tutorials say, until a map shows who can.

f = 0.1 x^4 - 3 x^2 + x from -3, 20 steps at lr 0.1: plain SGD and momentum both stay in the well
where they began. A sweep over lr x momentum x start maps the settings that cross the barrier.
"""

import numpy as np

from sweeps import linspace, problems, sweep
from sweeps.studies import Findings, main

STATIONARY = ("-3.953771", "0.166977", "3.786794")
COLUMNS = ["start_x", "lr", "momentum"]


def by_numpy(x, lr, mu):
    v = np.zeros_like(x)
    with np.errstate(all="ignore"):
        for _ in range(20):
            v = mu * v + (1 - mu) * (0.4 * x**3 - 6 * x + 1)
            x = x - lr * v
    return x


def study(full=False):
    found, wells = Findings(), problems.double_well()
    for published, root in zip(STATIONARY, np.sort(np.roots([0.4, 0.0, -6.0, 1.0]))):
        found.check("stationary point", published, root)
        found.check(f"our slope at {published}", 0.0, wells(float(published))[1][0], 1e-5)
    how = {"steps": 20, "progress": False}
    ema = {"optimizer": "momentum", "form": "ema", **how}
    plain = sweep(wells, {}, optimizer="sgd", lr=0.1, **how).to_frame().x[0]
    found.check("SGD ends at", "-3.953771", plain)
    heavy = sweep(wells, {}, lr=0.1, momentum=0.9, **ema).to_frame().x[0]
    found.check("EMA momentum 0.9 ends at", "-3.736995", heavy)
    n = 400 if full else 60
    space = {"lr": linspace(0.01, 1.0, n), "momentum": linspace(0.0, 0.99, n)}
    frame = sweep(wells, space | {"start_x": [-3.0, -1.0, -0.1]}, **ema).to_frame()
    ends = frame.x.where(frame.state == "COMPLETE"), by_numpy(*frame[COLUMNS].to_numpy().T)
    ours, theirs = ((x > float(STATIONARY[1])) & (np.abs(x) < 10) for x in ends)
    found.check(f"settings that cross, of {len(frame)}", int(theirs.sum()), int(ours.sum()))
    frame["outcome"] = np.where(ours, 1.0, np.where(np.abs(ends[0]) < 10, 0.0, np.nan))
    found.show("share that crosses", ours.groupby(frame.start_x).mean().to_frame("share"))

    @found.figure
    def draw(figure):
        axes = figure.subplots(1, 3, sharey=True)
        for ax, (start, part) in zip(axes, frame.groupby("start_x")):
            table = part.pivot(index="momentum", columns="lr", values="outcome")
            ax.pcolormesh(table.columns, table.index, table, cmap="cividis", vmin=0, vmax=1)
            ax.set(title=f"from {start}", xlabel="lr", facecolor="0.7")
        axes[0].set_ylabel("momentum (EMA)")
        figure.suptitle("yellow crosses the barrier, blue stays, grey flies off")

    return found


if __name__ == "__main__":
    main(__file__)
