"""Hyperband's brackets and scikit-learn's halving: the tables, number for number.

81 epochs at most and a factor of 3; then the user guide's halving of 6 candidates on 1 000 samples
by a factor of 2 (least and most samples, aggressive elimination), beside scikit-learn's class.
"""

import pandas as pd
from sklearn.datasets import make_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV
from sklearn.tree import DecisionTreeClassifier

from sweeps import halving_rungs, hyperband_brackets
from sweeps.studies import Findings, main

BRACKETS = {  # Li et al., JMLR 2018: (trials, epochs)
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(34, 3), (11, 9), (3, 27), (1, 81)],
    2: [(15, 9), (5, 27), (1, 81)],
    1: [(8, 27), (2, 81)],
    0: [(5, 81)],
}
GUIDE = {  # min_resources, max_resources, aggressive elimination: n_resources_
    (20, 1000, False): [20, 40, 80],
    ("exhaust", 1000, False): [250, 500, 1000],
    (20, 40, True): [20, 20, 40],
}


def study(full=False):
    found, tables = Findings(), []
    for s, rungs in hyperband_brackets(81, 3).items():
        found.check(f"Hyperband, bracket {s}", BRACKETS[s], [tuple(rung) for rung in rungs])
        tables += [(s, *rung) for rung in rungs]
    early = [rungs[0][0] for rungs in hyperband_brackets(81, rounding="floor").values()]
    found.check("the first version's table: trials of the first rungs", [81, 27, 9, 6, 5], early)
    data, grid = make_classification(1000, random_state=0), {"max_depth": range(1, 7)}
    for (least, most, aggressive), guide in GUIDE.items():
        how = {"min_resources": least, "max_resources": most, "aggressive_elimination": aggressive}
        rungs, title = halving_rungs(6, factor=2, **how), f"min {least}, max {most}, {aggressive}"
        theirs = HalvingGridSearchCV(DecisionTreeClassifier(), grid, factor=2, **how).fit(*data)
        found.check(f"{title}: user guide", guide, [rung.n_resources for rung in rungs])
        pairs = [*zip(theirs.n_candidates_, theirs.n_resources_)]
        found.check(f"{title}: HalvingGridSearchCV", pairs, [tuple(rung) for rung in rungs])
    table = pd.DataFrame(tables, columns=["bracket", "trials", "epochs"])
    found.show("Hyperband", table)

    @found.figure
    def draw(figure):
        axes = figure.subplots()
        for s, part in table.groupby("bracket"):
            axes.loglog(part.epochs, part.trials, "o-", label=f"bracket {s}")
        axes.set(xlabel="epochs a trial", ylabel="trials that go on"), axes.legend()

    return found


if __name__ == "__main__":
    main(__file__)
