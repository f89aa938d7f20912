"""A table as people have them: text, gaps, a column that says nothing, a category of one row."""

from __future__ import annotations

import numpy as np
import pandas as pd


def wines(rows=120, seed=0):
    """Return wines of three qualities, which their acid and alcohol tell."""
    rng = np.random.default_rng(seed)
    quality = np.arange(rows) % 3 + 5
    table = pd.DataFrame(
        {
            "fixed acidity": (rng.normal(8.0, 1.0, rows) - quality).round(2),
            "alcohol": (rng.normal(10.0, 0.5, rows) + quality).round(2),
            "year": rng.integers(1990, 2020, rows),
            "colour": rng.choice(["red", "white"], rows).astype(object),
            "organic": rng.random(rows) < 0.5,
            "vessel": "bottle",
            "units": 1,
            "quality": quality,
        }
    )
    table.loc[7, "colour"] = "rosé"
    for name, gaps in (("fixed acidity", 9), ("alcohol", 5), ("colour", 6)):
        table.loc[rng.choice(np.delete(np.arange(rows), 7), gaps, replace=False), name] = np.nan
    return table


def write_wines(path, table=None, separator=";", mark=True):
    """Write wines as Excel does in most of Europe: with semicolons and a byte order mark."""
    table = wines() if table is None else table
    table.to_csv(path, sep=separator, index=False, encoding="utf-8-sig" if mark else "utf-8")
    return path
