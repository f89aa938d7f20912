"""Ripples on a bowl make the edge of trainability fractal: 2^18 + 1 trainings, or 2^32 + 1.

Gradient descent on x² + 0.2 cos(2 pi x / 0.1) from 1: figure 2a of Liu (arXiv:2406.13971), read by
its pixels. The size of the figure is edges(32, store="runs/ripples"): counts alone are kept.
"""

import numpy as np

from fastopt import maths
from sweeps import linspace, problems, sweep
from sweeps.studies import Findings, main

SIZE, WAVE, START, LIMIT = RIPPLES = 0.2, 0.1, 1.0, 1e8
LARGEST, BOUNDED = 1.5, 0.999  # learning rates; below, |x| < 2 pi SIZE / WAVE / (2 / lr - 2) = 6277


def f(x, aux):
    turns, size = aux[0][0], aux[0][1]
    return x * x + size * maths.cos(turns * x), (2.0 * x - turns * size * maths.sin(turns * x),)


class Edges:  # trial t has number (t + first) mod (2^scales + 1) on the grid
    def __init__(self, scales, first):
        self.first, self.steps = first, 2 ** np.arange(scales, -1, -1)

    def check(self, plan): ...

    def fold(self, plan, rows):  # a scale: edges; number and end of its first trial, of its last
        at, bad, found = (rows.ids + self.first) % plan.size, rows.state != 0, []
        for step in self.steps[::-1]:
            at, bad = at[on := at % step == 0], bad[on]
            count = np.sum((bad[1:] != bad[:-1]) & (np.diff(at) == step))
            found.append([count, at[0], bad[0], at[-1], bad[-1]] if len(at) else [0, *[-1] * 4])
        return {"states": np.bincount(rows.state, minlength=4), "found": np.array(found[::-1])}

    def merge(self, plan, before, after):
        a, b = before["found"], after["found"]
        firsts = np.where(a[:, [1]] < 0, b[:, 1:3], a[:, 1:3])
        lasts = np.where(b[:, [1]] < 0, a[:, 3:], b[:, 3:])
        found = np.column_stack([a[:, 0] + b[:, 0] + self.between(a, b), firsts, lasts])
        return {"states": before["states"] + after["states"], "found": found}

    def between(self, a, b):
        return (a[:, 1] >= 0) & (b[:, 1] == a[:, 3] + self.steps) & (a[:, 4] != b[:, 2])

    pack = unpack = staticmethod(dict)

    def result(self, plan, summary, info):
        edges = (ends := summary["found"])[:, 0] + self.between(ends, ends)
        return summary["states"], edges, info


def edges(scales, ripples=RIPPLES, store=None):  # from BOUNDED on first: that is where edges are
    (size, wave, start, limit), step = ripples, LARGEST / 2**scales
    problem = problems.landscape(f, [start], aux=(np.array([2 * np.pi / wave, size]),))
    above = linspace((first := int(BOUNDED / step)) * step, LARGEST, 2**scales + 1 - first)
    space = [{"lr": above}, {"lr": linspace(0.0, (first - 1) * step, first)}]
    how = {"optimizer": "sgd", "steps": 1000, "diverge_above": limit, "progress": False}
    return sweep(problem, space, reduce=Edges(scales, first), store=store, **how)


def study(full=False):
    found, scales = Findings(), 24 if full else 18
    counts = edges(scales)[1]
    found.check("edges at 2^-11 and coarser", 1, max(counts[:12]))
    for k in range(14, scales + 1, 2):  # on the line that is drawn, to two pixels
        found.check(f"log2 of the edges at 2^-{k}", k - 11, np.log2(counts[k]), 0.5)
    half, convex = (SIZE / 4, WAVE / 2, START / 2, LIMIT / 4), 0.9 * WAVE**2 / (2 * np.pi**2)
    found.check("half as wide and high: others", 0, sum(edges(14, half)[1] != counts[:15]))
    found.check("convex: edges", 1, max(edges(14, (convex, *RIPPLES[1:]))[1]))
    lr, x, turns = np.linspace(0.0, LARGEST, 2**14 + 1), START, 2 * np.pi / WAVE
    for _ in range(1000):  # who was at the limit does not come back
        x = np.clip(x - lr * (2 * x - turns * SIZE * np.sin(turns * x)), -1e4, 1e4)
    found.check("bounded of 2^14 + 1, by NumPy", sum(abs(x) < 1e4), edges(14)[0][0], 20)
    return found


if __name__ == "__main__":
    main(__file__)
