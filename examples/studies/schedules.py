"""S8. Schedules: five ways to spend 500 steps of gradient descent on (x - 5)² from 0.

At lr 0.5 the first step lands on the minimum, whatever the schedule does afterwards; a constant
0.1 takes 28 steps to a distance of 0.01, a warm-up to 0.5 takes 24.
"""

import numpy as np

from sweeps import problems, sweep, trace
from sweeps.studies import Findings, main

T = np.arange(500)
HALF = 0.5 * (1 + np.cos(np.pi * np.maximum(T - 50, 0) / 450))
SCHEDULES = {  # lr, parameters, first step within 0.01, factor over time
    "constant": (0.1, {}, 28, 1.0 + 0 * T),
    "step": (0.5, {"step_size": 100, "gamma": 0.5}, 1, 0.5 ** (T // 100)),
    "exponential": (0.5, {"gamma": 0.99}, 1, 0.99**T),
    "cosine": (0.5, {}, 1, 0.5 * (1 + np.cos(np.pi * T / 500))),
    "warmup_cosine": (0.5, {"warmup_steps": 50}, 24, np.where(T < 50, T / 50, HALF)),
}


def bowl(x):
    return (x - 5.0) * (x - 5.0), (2.0 * (x - 5.0),)


def study(full=False):
    found, line = Findings(), problems.landscape(bowl, (0.0,), optimum=(5.0,))
    how = {"steps": 500, "metric": "distance", "target": 0.01, "progress": False}
    rates, space = {}, []
    for name, (lr, parameters, _, _) in SCHEDULES.items():
        rates[name] = trace(line, "sgd", steps=500, lr=lr, schedule=name, **parameters).lr[1:]
        one = {"schedule": name, "lr": lr, **parameters}
        space.append({axis: [value] for axis, value in one.items()})
    frame = sweep(line, space, optimizer="sgd", **how).to_frame()
    for row, (name, (lr, _, first, factor)) in zip(frame.itertuples(), SCHEDULES.items()):
        found.check(f"{name}: first step within 0.01", first, row.steps_to_target)
        error = np.abs(rates[name] - lr * factor).max()
        found.check(f"{name}: lr over time against its formula", 0.0, error, 1e-15)
        theirs = 5 * abs(np.prod(1 - 2 * lr * factor))
        found.check(f"{name}: final distance, 5 prod(1 - 2 lr)", theirs, row.distance, 1e-12)
    found.show("after 500 steps", frame[["schedule", "x", "train_loss", "steps_to_target"]])

    @found.figure
    def draw(figure):
        axes = figure.subplots()
        for name, rate in rates.items():
            axes.plot(rate, label=name)
        axes.set(xlabel="step", ylabel="learning rate"), axes.legend()

    return found


if __name__ == "__main__":
    main(__file__)
