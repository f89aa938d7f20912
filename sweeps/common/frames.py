"""pandas, imported when something of it is first asked for.

That takes 0.4 s, a third of what a process needs until it trains. ``from sweeps.common.frames
import pd`` stands for ``import pandas as pd``, to type checkers too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


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
