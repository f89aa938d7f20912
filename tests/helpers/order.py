"""Which files of tests run first: the long ones, so that no worker ends with one of them."""

from __future__ import annotations

from pathlib import Path

# Those that take more than some 15 s of a core with an empty cache of kernels. Of the optimizers
# and of sweeps in turns: two workers that begin with files of one kind compile the same kernels.
LONG = (
    "tests/fastopt/test_assembly.py",  # needs to compile: what comes after it loads the same
    "tests/sweeps/engine/test_trial_options.py",
    "tests/fastopt/test_rules.py",
    "tests/sweeps/engine/test_lanes.py",
    "tests/fastopt/test_kernels.py",
    "tests/sweeps/sklearn/test_conformance.py",
    "tests/sweeps/problems/test_weights.py",
    "tests/sweeps/problems/test_linear_truth.py",
    "tests/fastopt/test_fused.py",
    "tests/sweeps/running/test_everywhere.py",
    "tests/fastopt/test_transactions.py",
    "tests/sweeps/common/test_interrupt.py",
    "tests/sweeps/problems/test_layers.py",
    "tests/fastopt/test_changed_code.py",
    "tests/sweeps/engine/test_ahead.py",
    "tests/sweeps/running/test_executors.py",
    "tests/fastopt/test_state_machine.py",
    "tests/sweeps/engine/test_engine.py",
    "tests/fastopt/test_compile.py",
    "tests/test_pages.py",
    "tests/sweeps/problems/test_no_leak.py",
    "tests/sweeps/running/test_same_bits.py",
    "tests/sweeps/functions/test_callables.py",
    "tests/sweeps/sklearn/test_search.py",
    "tests/sweeps/sklearn/test_linear.py",
    "tests/sweeps/sklearn/test_objectives.py",
    "tests/sweeps/sklearn/test_beside_grid_search.py",
    "tests/test_examples.py",
    "tests/sweeps/problems/test_problems.py",
    "tests/sweeps/problems/test_noise.py",
    "tests/fastopt/test_norms.py",
    "tests/sweeps/engine/test_validation.py",
    "tests/fastopt/test_embed.py",
    "tests/sweeps/studies/test_studies_numbers.py",
    "tests/sweeps/store/test_store_crash.py",
)
PLACES = {name: place for place, name in enumerate(LONG)}


def place_of(nodeid: str) -> int:
    """Return the place of a test's file; what is not long comes after, as it was collected."""
    return PLACES.get(Path(nodeid.partition("::")[0]).as_posix(), len(LONG))
