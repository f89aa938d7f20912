"""Tuples as values: they train the same trials as what they stand for, or are refused."""

import re

import pytest

from fastopt.errors import FastoptError, SpecError
from sweeps import Space, estimate, problems, zipped
from sweeps.cli.spec import read_spec
from sweeps.running.check import check
from sweeps.space.tuples import without_tuples

IRIS = problems.iris(hidden=(4,))
PAIRS = [(0.9, 0.99), (0.8, 0.9)]
COLUMNS = {"beta1": [0.9, 0.8], "beta2": [0.99, 0.9]}


@pytest.mark.parametrize("given", [PAIRS, tuple(PAIRS), [list(pair) for pair in PAIRS]])
def test_pairs_are_axes_that_advance_together(given):
    ours = check(IRIS, [{"lr": [0.1, 0.2], "betas": given}, {"lr": [0.3]}], {"epochs": 1}).space
    assert list(ours) == list(Space([{"lr": [0.1, 0.2], **zipped(COLUMNS)}, {"lr": [0.3]}]))


def test_a_keyword_is_one_tuple():
    made = check(IRIS, {"hidden": [(8,), (3, 5)]}, {"epochs": 1, "betas": (0.7, 0.8)})
    assert list(made.space) == [{"hidden": "8"}, {"hidden": "3-5"}]
    assert {"beta1": 0.7, "beta2": 0.8}.items() <= made.options.defaults.items()
    made = check(IRIS, {"lr": 0.1}, {"epochs": 1, "hidden": (3, 5), "optimizer": "ademamix",
                                     "betas": [0.7, 0.8, 0.9]})  # fmt: skip
    assert {"hidden": "3-5", "beta3": 0.9}.items() <= made.options.defaults.items()


def test_a_spec_has_lists_for_tuples(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text("""
        [problem]
        name = "iris"
        [space]
        hidden = [[8], [3, 5]]
        betas = [[0.9, 0.99], [0.8, 0.9]]
        [sweep]
        lr_multipliers = [1, 0.5]
    """)
    spec = read_spec(path)
    assert list(spec.space) == list(Space({"hidden": ["8", "3-5"], **zipped(COLUMNS)}))
    assert spec.options["lr_multipliers"] == "1, 0.5"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"betas": [0.9]}, "betas must be tuples (beta1, beta2, beta3) of one length; got [0.9]"),
        ({"betas": [(0.9, 0.99), 0.8]}, "of one length; got 0.8"),
        ({"betas": [(0.9, 0.99), (0.8, 0.9, 0.9)]}, "of one length; got (0.8, 0.9, 0.9)"),
        ({"betas": PAIRS, "beta2": [0.9]}, "'beta2' is there twice: by its name and in 'betas'"),
        ({"betas": [("a", 0.9)]}, "beta1"),
        ({"hidden": [(8, "x")]}, "hidden"),
        ({"hidden": [()]}, "hidden"),
        ({"lr": [(0.1, 0.2)]}, "'lr' holds (0.1, 0.2) of type tuple"),
    ],
)
def test_what_stands_for_nothing_is_refused(given, said):
    with pytest.raises(FastoptError, match=re.escape(said)):
        estimate(IRIS, given, epochs=1)


def test_other_axes_are_handed_on():
    given = {"lr": [0.1], "betas": COLUMNS, "seed": range(3)}
    assert without_tuples(given) == given


def test_an_argument_of_another_library_is_named():
    X, y = [[0.0], [1.0]], ["a", "b"]
    for said, ours in (("hidden_layer_sizes", "hidden"), ("cv", "folds"), ("epsylon", "")):
        hint = f" (did you mean '{ours}'?)" if ours else ""
        with pytest.raises(SpecError, match=re.escape(f"there is no argument '{said}'{hint}")):
            problems.softmax_regression(X, y, **{said: 3})
