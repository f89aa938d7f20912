"""S1. Layer by layer: SGD with momentum and Adam on named weights and biases.

Momentum in the velocity form, v = mu v - lr g and p += v; Adam for weights and biases alike (a
common tutorial moves its biases by plain SGD). Gradients that change sign make short steps.
"""

import numpy as np

import fastopt
from sweeps.studies import Findings, main

STEADY = [0.1, 0.11, 0.09, 0.1, 0.1], "0.000996053"
SHAKY = [10.0, -10.0, 10.0, -10.0, 10.0], "0.000204415"
SHAPES = {"W1": (2, 5), "b1": (5,), "W2": (5, 1), "b2": (1,)}
OURS = {
    "momentum": lambda p: fastopt.SGD(p, lr=0.01, momentum=0.9, form="velocity"),
    "adam": lambda p: fastopt.Adam(p, lr=0.01),
}


def by_numpy(p, gradients, adam):
    m = v = np.zeros_like(p)
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + (0.1 * g if adam else -0.01 * g), 0.999 * v + 0.001 * g * g
        p = p - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) if adam else p + m
    return p


def study(full=False):
    found, rng, sizes = Findings(), np.random.default_rng(0), {}
    for name, (gradients, published) in {"steady": STEADY, "shaky": SHAKY}.items():
        opt, path = fastopt.Adam({"p": (p := np.zeros(1))}, lr=1e-3), [0.0]
        for g in gradients:
            opt.step({"p": np.array([g])})
            path.append(p.item())
        sizes[name] = np.abs(np.diff(path))
        found.check(f"last step of the {name} neuron", published, sizes[name][-1])
    start = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    gradients = [{n: rng.normal(size=s) for n, s in SHAPES.items()} for _ in range(50)]
    for title, optimizer in OURS.items():
        opt = optimizer(params := {n: a.copy() for n, a in start.items()})
        for step in gradients:
            opt.step(step)
        for n, p in params.items():
            error = np.abs(p - by_numpy(start[n], [g[n] for g in gradients], title == "adam"))
            found.check(f"{title}: {n} against NumPy, 50 steps", 0.0, error.max(), 1e-14)

    @found.figure
    def draw(figure):
        axes = figure.subplots()
        for name, size in sizes.items():
            axes.plot(range(1, 6), size * 1e3, "o-", label=f"{name} gradients")
        axes.set(xlabel="step", ylabel="size of Adam's step / 10⁻³", ylim=0)
        axes.set_xticks(range(1, 6)), axes.legend()

    return found


if __name__ == "__main__":
    main(__file__)
