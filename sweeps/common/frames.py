"""pandas, imported when something of it is first asked for.

That takes 0.4 s, a third of what a process needs until it trains. ``from sweeps.common.frames
import pd`` stands for ``import pandas as pd``, to type checkers too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np


class _Pandas:
    def __getattr__(self, name: str) -> Any:
        import pandas

        value = getattr(pandas, name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import pandas as pd
else:
    pd = _Pandas()


def configurations(columns: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Return the number of each row's configuration, counted in the order in which they come.

    ``columns``: of shape (n,). ``names``: columns to look at. Numbers are equal for rows that are
    equal in all of ``names``; a missing value equals itself.

    >>> configurations({"a": np.array([2, 1, 2]), "b": np.array([0.5, 0.5, 0.5])}, ["a", "b"])
    array([0, 1, 0])
    """
    n = len(next(iter(columns.values())))
    codes = np.zeros(n, np.int64)
    for name in names:
        own, distinct = pd.factorize(np.asarray(columns[name]), use_na_sentinel=False)
        codes, _ = pd.factorize(codes * len(distinct) + own)
    return codes
