"""S5. Shootout in the banana valley: which optimizer wins is a question of its learning rate.

Rosenbrock's function from (-2, 2), 5 000 steps. At the customary learning rates momentum arrives
and Adam does not, though tutorials conclude "Adam finds the optimum". A grid of 10 000 learning
rates for each of them shows what it takes.
"""

import numpy as np

from sweeps import geomspace, plots, problems, sweep
from sweeps.studies import Findings, main

WHAT = ("x", "y", "distance", "steps to a distance of 0.1", "path of 1 000 steps")
PUBLISHED = {
    ("sgd", 1e-3): ("0.928224", "0.861300", "0.156171", "never", "4.87487"),
    ("momentum", 1e-3): ("1.000000", "1.000000", "7.6e-10", 518, "19.9780"),
    ("adam", 1e-2): ("0.451707", "0.202951", "0.967425", "never", "0.825477"),
}


def study(full=False):
    found, valley = Findings(), problems.rosenbrock(start=(-2.0, 2.0))
    how = {"steps": 5000, "metric": "distance", "target": 0.1, "progress": False}
    paths, tuned = {}, {}
    for (name, lr), published in PUBLISHED.items():
        result = sweep(valley, {"lr": [lr]}, optimizer=name, curves=True, eval_every=1, **how)
        row, path = result.to_frame().iloc[0], result.curves()
        length = np.hypot(np.diff(path.x), np.diff(path.y))[:1000].sum()
        steps = "never" if row.isna().steps_to_target else int(row.steps_to_target)
        for what, theirs, ours in zip(WHAT, published, (*row[[*WHAT[:3]]], steps, length)):
            found.check(f"{name}: {what}", theirs, ours)
        paths[name] = path
    for name in ("sgd", "momentum", "adam"):
        grid = {"lr": geomspace(1e-5, 10.0, 10_000 if full else 2_000)}
        tuned[name] = sweep(valley, grid, optimizer=name, **how)
        title = f"{name}: distance at its best lr, {tuned[name].best_params_['lr']:.3g}"
        found.at_most(title, 0.001, tuned[name].best_score_)

    @found.figure
    def draw(figure):
        left, right = figure.subplots(1, 2)
        plots.paths(valley, paths, view=((-2.3, 2.3), (-1.0, 4.2)), ax=left)
        for name in paths:
            frame = tuned[name].to_frame().query("state == 'COMPLETE'")
            right.loglog(frame.lr, frame.distance.clip(1e-12), lw=1, label=name)
        right.set(xlabel="learning rate", ylabel="distance after 5 000 steps"), right.legend()

    return found


if __name__ == "__main__":
    main(__file__)
