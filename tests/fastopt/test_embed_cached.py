"""Users' ``@njit(cache=True)`` functions that contain our step: what changed is made anew."""

from __future__ import annotations

import subprocess
import sys
import textwrap

RULE = """
    from fastopt.compile import inlinable
    from fastopt.rules import RULES

    @inlinable
    def update(c, g, x):
        return (x[0] - SCALE * c[-1] * c[0] * g,)

    SCALE = 1.0
    RULES["mine"] = RULES["sgd"].using(name="mine", update=update)
"""

USER = """
    import numba
    import numpy as np
    import fastopt
    import mine

    step, adam = fastopt.embed("mine").step, fastopt.embed("adam").step

    @numba.njit(cache=True)
    def one(h, clock, g, x):
        step(h, clock, g, x)

    @numba.njit(cache=True, parallel=True)
    def many(h, clocks, gs, ps):
        for k in numba.prange(4):
            one(h, clocks[k], gs[k], (ps[k],))

    @numba.njit(cache=True)
    def other(h, clock, g, x):
        adam(h, clock, g, x)

    h, ha = fastopt.hyper("mine", lr=1.0), fastopt.hyper("adam", lr=1.0)
    p, ps, q = np.zeros(3), np.zeros((4, 3)), np.zeros(3)
    one(h, fastopt.clock("mine", h), np.ones(3), (p,))
    many(h, np.zeros((4, 1)), np.ones((4, 3)), ps)
    other(ha, fastopt.clock("adam", ha), np.ones(3), (q, *fastopt.slots("adam", q)))
    loaded = [sum(d.stats.cache_hits.values()) for d in (one, many, other)]
    print(p[0], ps[3, 0], round(q[0], 3), *loaded)
"""


def test_cached_code_of_a_rule_that_changed_is_compiled_anew(tmp_path):
    """Numba looks at the file of the function alone: it ran the old rule in every process."""
    (tmp_path / "user.py").write_text(textwrap.dedent(USER))
    expected = [
        ("1.0", "-1.0 -1.0 -1.0 0 0 0"),
        ("1.0", "-1.0 -1.0 -1.0 1 1 1"),
        ("3.0", "-3.0 -3.0 -1.0 0 0 1"),
        ("3.0", "-3.0 -3.0 -1.0 1 1 1"),
    ]
    for scale, line in expected:
        text = textwrap.dedent(RULE).replace("SCALE = 1.0", f"SCALE = {scale}")
        (tmp_path / "mine.py").write_text(text)
        # -B, since Python takes bytecode of the same second for that of an edited source.
        run = subprocess.run(
            [sys.executable, "-B", "user.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert run.stdout.strip() == line, run.stderr
