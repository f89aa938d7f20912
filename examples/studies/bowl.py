"""S7. The elliptical bowl, step by step: where SGD and Adam are and what they have in mind.

f = x²/2 + 5 y² from (10, 1), 100 steps at lr 0.1. SGD's y vanishes at once (lr is 1 / curvature);
Adam moves 0.1 a step in both directions, so x is what takes its time.
"""

import numpy as np

from sweeps import plots, problems, trace
from sweeps.studies import Findings, main

PUBLISHED = {"sgd": ("0.000265614", "0.000000"), "adam": ("2.244460", "0.002937")}
SHOWN = [0, 10, 25, 50, 100]


def by_numpy(steps):
    p, m, v, rows = np.array([10.0, 1.0]), np.zeros(2), np.zeros(2), []
    for t in range(1, steps + 1):
        g = p * [1.0, 10.0]
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        rate = 0.1 / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        p = p - rate * m / (1 - 0.9**t)
        rows.append((p, m, v, rate))
    return np.array(rows)


def study(full=False):
    found, bowl, frames = Findings(), problems.ellipse(), {}
    for name, published in PUBLISHED.items():
        frame = frames[name] = trace(bowl, name, lr=0.1, steps=100)
        for coordinate, theirs in zip("xy", published):
            found.check(f"{name}: {coordinate} after 100 steps", theirs, frame[coordinate].iloc[-1])
        found.show(f"{name}: positions", frame.iloc[SHOWN][["step", "x", "y", "loss"]])
    for k, slot in enumerate(("", "exp_avg_", "exp_avg_sq_", "effective_lr_")):
        ours, theirs = frames["adam"][[f"{slot}x", f"{slot}y"]].to_numpy()[1:], by_numpy(100)[:, k]
        error = np.abs(ours / theirs - 1).max()  # effective rates come from rounded moves
        found.check(f"adam: {slot or 'position_'}, all steps, relative to NumPy", 0.0, error, 1e-9)
    found.show(
        "adam: m, v, effective lr", frames["adam"].iloc[SHOWN].filter(regex="step|avg|effec")
    )

    @found.figure
    def draw(figure):
        left, right = figure.subplots(1, 2)
        plots.paths(bowl, frames, view=((-1, 11), (-1.5, 1.5)), ax=left)
        for axis in "xy":
            right.semilogy(frames["adam"][f"effective_lr_{axis}"], label=axis)
        right.set(xlabel="step", ylabel="Adam's effective learning rate"), right.legend()

    return found


if __name__ == "__main__":
    main(__file__)
