"""S9. Batch size: linear regression on 10 000 x 5 with batches from 1 to all.

Larger batches have quieter gradients (their variance is that of one row over B) and fewer steps an
epoch. The sweet spot reaches a loss of 0.3 having seen the fewest rows; 0.25 of it are noise.
"""

import numpy as np

from sweeps import problems, sweep, trace, zipped
from sweeps.studies import Findings, main

BATCHES = [1, 16, 64, 256, 1024, 10_000]
RATES = [0.01, 0.01, 0.01, 0.1, 0.1, 0.1]
TRUE = np.array([1.0, -2.0, 0.5, 3.0, -1.0])


def study(full=False):
    found, rng = Findings(), np.random.default_rng(42)
    X = rng.normal(size=(10_000, 5))
    y = X @ TRUE + 0.5 * rng.normal(size=10_000)
    start = {"theta0": np.zeros(6), "dtype": "float64", "standardize": False}
    problem = problems.linear_regression(X, y, X, y, **start)  # all rows are looked at
    how = {"metric": "test_loss", "target": 0.3, "eval_every": 1, "curves": True}
    space = zipped({"batch_size": BATCHES, "lr": RATES})
    result = sweep(problem, space, optimizer="sgd", steps=600, progress=False, **how)
    table = result.to_frame()[["batch_size", "lr", "steps_to_target"]]
    table["epochs"] = table.steps_to_target * table.batch_size / 10_000
    for k, (batch, lr, steps, _) in table.iterrows():
        own = {"batch_size": int(batch), "vectors": True}
        theta = trace(problem, "sgd", steps=int(steps), lr=lr, **own).filter(regex=r"theta_\d")
        table.loc[k, "weight_error"] = np.linalg.norm(theta.iloc[-1, :5] - TRUE)
        own |= {"steps": 20_000 if full else 2_000}
        if batch < 10_000:  # one of all rows has no order
            own["shuffle"] = "replacement"
        still = trace(problem, "sgd", lr=0.0, **own).query(f"batch_size == {batch}")
        table.loc[k, "variance"] = still.filter(regex=r"grad_\d").var().sum()
        found.at_most(f"batch {batch:.0f}: steps to a loss of 0.3", 600, steps)
    one, some = -2 * np.column_stack([X, np.ones(10_000)]) * y[:, None], table[:-1]
    slope = np.polyfit(np.log(some.batch_size), np.log(some.variance), 1)[0]
    found.check("slope of log variance over log B", -1.0, slope, 0.05)
    for batch, variance in zip(some.batch_size, some.variance):
        title = f"batch {batch}: variance x B over that of one row"
        found.check(title, 1.0, variance * batch / one.var(axis=0).sum(), 0.15)
    found.show(f"sweet spot: batch {table.batch_size[table.epochs.idxmin()]}", table)

    @found.figure
    def draw(figure):
        left, right = figure.subplots(1, 2)
        for batch, (_, curve) in zip(BATCHES, result.curves().groupby("trial_id")):
            left.loglog(curve.step * batch, curve.test_loss, lw=1, label=f"batch {batch}")
        left.axhline(0.3, color="k", ls=":")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        left.set(xlabel="rows seen", ylabel="loss of all rows")
        right.loglog(some.batch_size, some.variance, "o", label="measured")
        right.loglog(BATCHES, one.var(axis=0).sum() / np.array(BATCHES), label="one row's / B")
        right.set(xlabel="batch size", ylabel="gradient variance"), right.legend()

    return found


if __name__ == "__main__":
    main(__file__)
