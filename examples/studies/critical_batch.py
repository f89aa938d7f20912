"""The critical batch size: larger batches save steps, up to a point.

Steps of SGD to a target loss on digits, the learning rate tuned for each batch size. First twice
the rows halve the steps, in the end they do nothing: S = S_min (1 + B_crit / B), which is
(S / S_min - 1) (E / E_min - 1) = 1 for E = S B examples (McCandlish et al., arXiv:1812.06162).
"""

import numpy as np
from scipy.optimize import curve_fit
from sklearn.datasets import load_digits

from sweeps import geomspace, problems, sweep
from sweeps.studies import Findings, main


def law(log_batch, log_least, log_critical):
    return log_least + np.log1p(np.exp(log_critical - log_batch))


def study(full=False):
    found, (X, y), curves, critical = Findings(), load_digits(return_X_y=True), {}, []
    data = X[:1024] / 16, y[:1024], X[1024:] / 16, y[1024:]  # no batch is short
    problem = problems.softmax_regression(*data, standardize=False)
    batches, fine = 2 ** np.arange(0, 11, 1 if full else 2), np.geomspace(1, 1024, 100)
    common = {"lr": geomspace(0.25, 32.0, 29 if full else 15), "seed": range(5 if full else 2)}
    space = [{"batch_size": [b], "steps": [max(100, 2000 // b)]} | common for b in batches]
    how = {"metric": "test_loss", "eval_every": 1, "optimizer": "sgd", "progress": False}
    for target in (0.8, 0.5):
        frame = sweep(problem, space, target=target, **how).to_frame()
        steps = frame.steps_to_target.astype(float).fillna(np.inf)
        mean = steps.groupby([frame.batch_size, frame.lr]).mean()
        S = mean.groupby("batch_size").min().to_numpy()
        fit, _ = curve_fit(law, np.log(batches), np.log(S), (2.0, 2.0))
        rest = np.log(S) - law(np.log(batches), *fit)
        least, own = np.exp(fit)
        critical.append(own)
        title = f"target {target}: R² of the law with S_min {least:.3g}, B_crit {own:.3g}"
        found.at_least(title, 0.98, 1 - rest.var() / np.log(S).var())
        low, high = np.diff(np.log(S))[[0, -1]] / np.diff(np.log(batches))[[0, -1]]
        found.check(f"target {target}: slope at the smallest batches", -1.0, low, 0.2)
        found.check(f"target {target}: slope at the largest batches", 0.0, high, 0.2)
        curves[target] = S, np.exp(law(np.log(fine), *fit))
    found.at_least("B_crit grows as the target falls: ratio", 1.0, critical[1] / critical[0])

    @found.figure
    def draw(figure):
        axes = figure.subplots()
        for k, (target, (S, fitted)) in enumerate(curves.items()):
            axes.loglog(batches, S, "o", color=f"C{k}", label=f"loss {target}")
            axes.loglog(fine, fitted, color=f"C{k}", lw=1)
            axes.axvline(critical[k], color=f"C{k}", ls=":", lw=1)
        axes.set(xlabel="batch size (dotted: the critical one)"), axes.legend()
        axes.set(ylabel="steps to the loss at the best lr")

    return found


if __name__ == "__main__":
    main(__file__)
