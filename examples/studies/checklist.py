"""S10. The checklist for a network that does not train: digits by a 64-32-10 network.

Is the first loss ln 10? Can it overfit ten examples? Which knob matters, and is the learning rate a
factor of ten off? Which step was the first bad one? Then Adam with L2 decay against AdamW.
"""

import numpy as np

from sweeps import geomspace, problems, sweep, trace
from sweeps.studies import Findings, main

GRID = {"optimizer": ["adam", "adamw"], "weight_decay": [0.0, 1e-4, 1e-2]}
GRID |= {"beta1": [0.8, 0.9, 0.95], "beta2": [0.9, 0.99, 0.999]}
GRID |= {"lr": [1e-4, 1e-3, 1e-2, 1e-1], "batch_size": [16, 64, 256, 1024]}


def study(full=False):
    found, digits = Findings(), problems.digits(hidden=(32,))
    ten = problems.mlp(digits.X[:10], digits.y[:10], standardize=False)
    how = {"steps": 300, "lr": 0.01, "progress": False}
    loss = sweep(ten, {"seed": range(10)}, batch_size=10, **how).to_frame().train_loss.max()
    found.at_most("loss of ten examples after 300 steps, worst of 10 seeds", 0.01, loss)
    grid = GRID if full else {**GRID, "batch_size": [64, 1024], "beta1": [0.9]}
    result = sweep(digits, grid, epochs=10 if full else 3, metric="test_loss", progress=False)
    effects, frame = result.importance(), result.to_frame()
    single = effects[effects.order == 1]
    found.check("importance: what matters most alone", "lr", single.effect.iloc[0])
    share = frame.groupby("lr").test_loss.mean().var(ddof=0) / frame.test_loss.var(ddof=0)
    found.check("importance: share of lr against pandas", share, single.share.iloc[0], 1e-12)
    pair = frame[frame.weight_decay == 0].pivot(columns="optimizer", values="test_loss")
    same = np.array_equal(pair.adam.dropna(), pair.adamw.dropna())
    found.check("without decay Adam with L2 is AdamW, bit for bit", True, same)
    best = frame.groupby("optimizer", observed=True).test_loss.idxmin()
    found.show("best of each", frame.loc[best, [*GRID, "test_loss", "test_accuracy"]])
    rates, how = {"lr": geomspace(1e-3, 1e3, 7)}, {"optimizer": "sgd", "progress": False}
    frame, curves = sweep(digits, rates, epochs=10, **how).to_frame(), {}
    found.show("SGD, factors of ten: the first bad step is named", frame.filter(regex="lr|st|loss"))
    best = frame.train_loss.where(frame.state == "COMPLETE").idxmin()
    found.at_most("best lr or ten times it: first bad step", 300, frame.diverged_step[best + 1])
    ratio = frame.train_loss[best - 1] / frame.train_loss[best]
    found.at_least("a tenth of the best lr: loss over the best", 1.5, ratio)
    for lr in frame.lr[best - 1 : best + 1]:
        curves[lr] = trace(digits, "sgd", lr=lr, steps=215)
    found.check("first loss, ln 10", np.log(10), curves[lr].loss[0], 0.5)

    @found.figure
    def draw(figure):
        left, right = figure.subplots(1, 2)
        left.barh(single.effect, single.share)
        left.set(xlabel="share of the variance of test loss"), left.invert_yaxis()
        for lr, curve in curves.items():
            right.semilogy(curve.step, curve.grad_norm, lw=1, label=f"lr {lr:g}")
        right.set(xlabel="step", ylabel="gradient norm, SGD"), right.legend()

    return found


if __name__ == "__main__":
    main(__file__)
