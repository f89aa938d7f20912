"""S4. The race in the banana valley: SGD and Adam on Rosenbrock's function from (-1.5, -1).

2 000 steps each: a sweep in float64, and where torch is installed our optimizers on its tensors.
"""

import importlib.util

import numpy as np

from sweeps import problems, sweep
from sweeps.studies import Findings, main

SGD = ("sgd", 1e-3), ("0.832614", "0.692507", "0.0280727")  # x, y, loss
ADAM = ("adam", 0.1), ("0.942875", "0.888835", "0.00326644")


def with_torch(name, lr):
    import torch

    from fastopt.torch import SGD, Adam

    p = torch.tensor([-1.5, -1.0], requires_grad=True)
    optimizer = {"sgd": SGD, "adam": Adam}[name]([p], lr=lr)
    for _ in range(2000):
        optimizer.zero_grad()
        ((1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2).backward()
        optimizer.step()
    return p.detach().numpy()


def study(full=False):
    found, valley, paths = Findings(), problems.rosenbrock(start=(-1.5, -1.0)), {}
    how = {"steps": 2000, "curves": True, "eval_every": 1, "progress": False}
    for (name, lr), published in (SGD, ADAM):
        result = sweep(valley, {}, optimizer=name, lr=lr, **how)
        row, paths[name] = result.to_frame().iloc[0], result.curves()
        for what, theirs in zip(("x", "y", "train_loss"), published):
            found.check(f"{name}: {what}", theirs, row[what])
        if importlib.util.find_spec("torch"):
            for what, theirs, ours in zip("xy", published, with_torch(name, lr)):
                found.check(f"{name}: {what} in float32, torch", float(theirs), float(ours), 1e-5)

    @found.figure
    def draw(figure):
        axes = figure.subplots()
        x, y = np.meshgrid(np.linspace(-2, 2, 300), np.linspace(-1.5, 3, 300))
        z, levels = (1 - x) ** 2 + 100 * (y - x * x) ** 2, np.logspace(-1, 3, 20)
        axes.contour(x, y, z, levels, cmap="Greys_r", linewidths=0.7)
        for name, path in paths.items():
            axes.plot(path.x, path.y, lw=2, label=f"{name}, 2 000 steps")
        axes.plot(1, 1, "k*", ms=14, label="minimum")
        axes.set(xlabel="x", ylabel="y"), axes.legend(loc="lower right")

    return found


if __name__ == "__main__":
    main(__file__)
