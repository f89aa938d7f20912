"""AdamW against Adam with L2: the penalty of a weight without gradient, over lr x weight decay.

L2 adds decay to the gradient, and Adam divides by the size of the gradient: how strong the decay is
does not matter at all. Decoupled, the weight shrinks by (1 - lr decay) a step, as SGD with L2 does
(Loshchilov and Hutter, arXiv:1711.05101). Digits networks show less: see the table.
"""

import numpy as np
import pandas as pd

from sweeps import geomspace, problems, sweep
from sweeps.studies import Findings, main

STEPS = 100


def study(full=False):
    found, n, tables = Findings(), 200 if full else 60, {}
    flat = problems.ellipse(1e-300, start=(0.0, 1.0))  # no slope to speak of in y
    space = {"lr": geomspace(1e-4, 1e-1, n), "weight_decay": geomspace(1e-3, 1.0, n)}
    for name in ("adam", "adamw", "sgd"):
        frame = sweep(flat, space, optimizer=name, steps=STEPS, progress=False).to_frame()
        tables[name] = frame.pivot(index="weight_decay", columns="lr", values="y")
    lr, decay = tables["sgd"].columns.to_numpy(), tables["sgd"].index.to_numpy()
    shrunk = (1 - lr * decay[:, None]) ** STEPS
    for name in ("adamw", "sgd"):
        error = np.abs(tables[name] / shrunk - 1).to_numpy().max()
        found.check(f"{name}: weight over (1 - lr decay)^100, largest error", 0.0, error, 1e-12)
    spread = np.ptp(tables["adam"].to_numpy(), axis=0).max()
    found.check("adam: spread of the weight over a factor 1 000 of decays", 0.0, spread, 1e-3)
    small = tables["adam"].iloc[0, 0]
    found.check("adam: weight at lr 1e-4, 1 - 100 lr whatever the decay", 0.99, small, 1e-4)
    digits = problems.digits(hidden=(32,), test_size=0.8)
    maps = {"lr": geomspace(2**-12, 2**-4, 9), "weight_decay": geomspace(2**-10, 2.0, 9)}
    rows = []
    for name in ("adam", "adamw"):
        how = {"optimizer": name, "metric": "test_loss", "progress": False}
        best = sweep(digits, maps, epochs=60 if full else 8, **how).best(8)
        both = np.corrcoef(np.log(best.lr), np.log(best.weight_decay))[0, 1]
        rows.append((name, best.test_loss[0], both))
    columns = ["optimizer", "best test loss", "correlation of the best cells"]
    found.show("digits network: log lr and log decay", pd.DataFrame(rows, columns=columns))

    @found.figure
    def draw(figure):
        axes = figure.subplots(1, 2, sharey=True)
        for ax, name in zip(axes, ("adam", "adamw")):
            image = ax.pcolormesh(lr, decay, tables[name], cmap="cividis", vmin=0, vmax=1)
            ax.set(xscale="log", yscale="log", xlabel="lr", title=name)
        axes[0].set_ylabel("weight decay")
        figure.colorbar(image, label="what is left of the weight after 100 steps")

    return found


if __name__ == "__main__":
    main(__file__)
