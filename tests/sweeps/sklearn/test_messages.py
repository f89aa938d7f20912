"""Errors of sweeps.models and sweeps.sklearn: each says what is allowed, or what to do."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from fastopt.errors import FastoptError
from sweeps.models import Ensemble, Model
from sweeps.models.columns import wrong_width
from sweeps.sklearn import SweepClassifier, SweepRegressor, SweepSearchCV
from tests.sweeps.models.made import made

ROOMS = ("sweeps/models", "sweeps/sklearn")
ERRORS = {"ArrayError", "ArrayTypeError", "SpecError", "Refusal"}
"""What makes an error for users; those of a file (StateError) are told what to do in one place."""

REMEDY = re.compile(
    r"\bmust (be|have)\b|\b([Gg]ive|[Aa]dd|[Uu]se|lower|leave|rename|ask for|take|"
    r"convert|name|call|result\.\w+\(.*\) (lists|returns|makes)|the column|columns of "
    r"the result)\b|fallback=True"
)


def texts(node):
    """All text that is written in a call, or in what it calls for a text."""
    parts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    shared = [wrong_width(1, 2)] if "wrong_width" in names else []
    return "".join(part for part in parts + shared if isinstance(part, str))


def messages():
    """Place and text of every error that is made in the two rooms."""
    for room in ROOMS:
        for path in sorted(Path(room).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS:
                    yield f"{path}:{node.lineno}", texts(node)


def test_every_message_says_what_is_allowed_or_what_to_do():
    found = dict(messages())
    assert len(found) > 30
    assert {where: text for where, text in found.items() if not REMEDY.search(text)} == {}


X, Y = np.random.default_rng(0).normal(size=(12, 4)), np.arange(12) % 2
ROWS, FRAME = np.arange(12), pd.DataFrame(X, columns=[*"abcd"])
NET = SweepClassifier((4,), max_iter=1, random_state=0)


def model():
    return made("three")[0]


def search(estimator=NET, X=X, y=Y, grid=None, **options):
    return SweepSearchCV(estimator, grid or {}, cv=2, **options).fit(X, y)


SAID = {
    "one class": (lambda: NET.fit(X, Y * 0), ["two classes or more", "one class: 0", "Add rows"]),
    "no weights": (lambda: NET.fit(X, Y, Y * 0.0), ["zero for all rows", "Give some a weight > 0"]),
    "a weight": (lambda: NET.fit(X, Y, Y - 1.0), ["sample_weight[0] is -1.0", "finite", ">= 0"]),
    "weights": (lambda: NET.fit(X, Y, Y[:3]), ["each of the 12 rows", "got shape (3,)"]),
    "a loss": (
        lambda: SweepRegressor(loss="hinge").fit(X, Y), ["must be one of squared_error", "'hinge'"],
    ),
    "a solver": (lambda: NET.set_params(solver="adamm").fit(X, Y), ["'adamm'", "adam"]),
    "text": (
        lambda: search(X=FRAME.assign(kind="red")),
        ["row 0, column 'kind': 'red'", "use a Pipeline", "OneHotEncoder"],
    ),
    "a date": (
        lambda: search(X=FRAME.assign(at=pd.Timestamp("2020-01-01"))),
        ["row 0, column 'at': ", "use a Pipeline"],
    ),
    "no label": (
        lambda: search(y=np.array(["a", None] * 6, object)),
        ["y, row 1: ", "None", "leave the row"],
    ),
    "labels of two sorts": (
        lambda: search(y=np.array(["a", 1] * 6, object)), ["labels of int and str", "one sort"],
    ),
    "a fold without weights": (
        lambda: SweepSearchCV(NET, {}, cv=[(ROWS[:6], ROWS[6:])]).fit(
            X, Y, sample_weight=(ROWS > 6) * 1.0
        ),
        ["no row that is trained on there", "other folds"],
    ),
    "a row in both parts": (
        lambda: SweepSearchCV(NET, {}, cv=[(ROWS, ROWS[3:])]).fit(X, Y),
        ["row 3 stands 2 times in fold 0", "fallback=True"],
    ),
    "no such row": (
        lambda: SweepSearchCV(NET, {}, cv=[(ROWS[:5], [99])]).fit(X, Y),
        ["fold 0", "99", "rows must be below 12"],
    ),
    "no folds": (lambda: SweepSearchCV(NET, {}, cv=[]).fit(X, Y), ["no folds", "give one pair"]),
    "sparse": (lambda: search(X=sparse.csr_matrix(X)), ["dense rows, X.toarray()", "fallback="]),
    "a width": (lambda: model().predict(X[:, :2]), ["X has 2 columns", "must have 4"]),
    "a gap": (
        lambda: model().predict([[1, np.nan, 1, 1]]), ["row 0, column 1", "missing", "leave the"],
    ),
    "other rows": (lambda: model().score(X, Y[:3]), ["12 rows and y has 3", "give one target"]),
    "other labels": (lambda: model().score(X, Y), ["y holds int64", "Give those"]),
    "no models": (lambda: Ensemble([]), ["one model or more", "result.models(n) makes one"]),
    "a loss of another": (
        lambda: Ensemble([model(), made("numbers")[0]]), ["loss of model 0", "of one sweep"],
    ),
    "no file of ours": (
        lambda: Model.load("tests/golden/checkpoint_2.safetensors"),
        ["checkpoint_2.safetensors: ", "not written by Model.save", "take another copy"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_messages_as_they_are_read(name):
    call, parts = SAID[name]
    with pytest.raises(FastoptError) as caught:
        call()
    text = str(caught.value)
    assert [part for part in parts if part not in text] == []
    NET.set_params(solver="adam")
