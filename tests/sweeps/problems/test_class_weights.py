"""Class weights are scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

from fastopt.errors import SpecError
from sweeps.problems.class_weights import class_weights

LABELS = {
    "names": np.array(["no", "yes", "no", "perhaps", "no"]),
    "numbers": np.array([3, 1, 3, 7, 3]),
    "floats": np.array([0.0, 1.0, 1.0, 0.0, 1.0]),
    "booleans": np.array([True, False, True, True, True]),
}


@pytest.mark.parametrize("given", ["balanced", None, "mapping"])
@pytest.mark.parametrize("name", LABELS)
def test_weights_are_scikit_learns(name, given):
    labels = LABELS[name]
    if given == "mapping":
        given = {labels[1].item(): 0.3}
    expected = compute_sample_weight(given, labels)
    np.testing.assert_array_equal(class_weights(given, labels), expected)


@pytest.mark.parametrize("name", LABELS)
def test_a_row_of_weight_k_counts_as_k_rows(name):
    labels, own = LABELS[name], np.array([2.0, 1.0, 0.0, 1.0, 3.0])
    actual = class_weights("balanced", labels, own)
    each = class_weights("balanced", np.repeat(labels, own.astype(int)))
    firsts = (np.cumsum(own) - own).astype(int)
    np.testing.assert_allclose(actual[own > 0], own[own > 0] * each[firsts[own > 0]], rtol=1e-15)
    assert actual[2] == 0
    assert own.tolist() == [2, 1, 0, 1, 3]  # the user's stay as they are


def test_sample_weights_multiply_as_in_an_estimator():
    rng, given = np.random.default_rng(0), {1: 3.0}
    X, y, own = (
        rng.normal(size=(60, 2)),
        rng.integers(0, 2, 60) * (np.arange(60) > 20),
        rng.random(60),
    )
    expected = LogisticRegression(class_weight=given).fit(X, y, sample_weight=own)
    actual = LogisticRegression().fit(X, y, sample_weight=class_weights(given, y, own))
    np.testing.assert_allclose(actual.coef_, expected.coef_, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("balance", "must be \"balanced\", a dict .*; got 'balance'"),
        (2.0, "got 2.0"),
        ({"maybe": 1}, "'maybe' is no class of the training rows: .*'no', 'perhaps', 'yes'"),
        ({"no": -1}, "class_weight of 'no' must be a number >= 0; got -1"),
        ({"no": np.nan}, "got nan"),
        ({"no": True}, "got True"),
        ({"no": "1"}, "got '1'"),
    ],
)
def test_wrong_class_weights_are_refused(given, message):
    with pytest.raises(SpecError, match=message):
        class_weights(given, LABELS["names"])
