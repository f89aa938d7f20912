r"""Embeddings of categories: each category is a row of a table, which is learned.

A category comes as ones and zeros, a column for each that training rows have; times the table that
is the row of the category, torch's ``nn.Embedding``, and zeros for a category that is new. The
network behind takes the other features, and then the embeddings of one column after the other.

``blocks`` holds three numbers for each column of categories, in the order of the features: where
its zeros and ones begin, how many they are, and how long a row of its table is. Tables lie behind
all other parameters. Embedded rows lie at the end of the scratch, behind that of the network.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.code.target import mode
from fastopt.compile import jitable
from fastopt.errors import ArrayError, SpecError, shortened
from sweeps.common.limits import is_whole
from sweeps.common.philox import fill_normal
from sweeps.problems.columns import CATEGORIES, MOST_CATEGORIES, refuse_unknown
from sweeps.problems.matrices import matrix
from sweeps.problems.targets import list_of

LONGEST = (1 << 20) - 1
"""Most numbers that stand for a category."""


def embedded_width(features: int, blocks: Sequence[int]) -> int:
    """Return how many numbers a row has that the network behind takes.

    >>> embedded_width(5, (1, 4, 2))
    3
    """
    return features - sum(blocks[1::3]) + sum(blocks[2::3])


def check_dim(dim: Any) -> int:
    """Return the length of embeddings, or say that it is none.

    >>> check_dim(8.0)
    8
    """
    if not is_whole(dim, 1, LONGEST):
        raise SpecError(f"embed_dim must be an integer >= 1; got {shortened(dim)}")
    return int(dim)


def embedded_columns(
    embed: Any, kinds: Mapping[str, str], preprocess: Any = None
) -> tuple[str, ...]:
    """Return the columns of categories that are to be embedded, checked.

    ``embed``: sequence of str. ``kinds``: column -> its kind, see
    :class:`sweeps.problems.columns.Column`. ``preprocess``, transformer: one of the user's own.
    Raises SpecError if there is no such column, it holds no categories, or nobody knows what
    becomes of it.

    >>> embedded_columns(["red"], {"acid": "numeric", "red": "categorical"})
    ('red',)
    """
    columns = tuple(list_of("embed", embed))
    refuse_unknown(columns, list(kinds), "embed")
    if columns and preprocess is not None:
        raise SpecError(
            "embed=... needs the zeros and ones that columns become by default, and preprocess=... "
            "may make others; leave one of them out"
        )
    for name in columns:
        if kinds[name] not in CATEGORIES:
            raise SpecError(
                f"embed: column {name!r} is {kinds[name]}, and only categories are embedded; name "
                f"it in categorical=[{name!r}] as well if its numbers are categories"
            )
    return columns


def numbered_columns(embed: Any, X: Any, rows: np.ndarray) -> tuple[int, ...]:
    """Return the columns of an array that are to be embedded, by their positions, checked.

    ``embed``, sequence of int or str: positions, or names of the columns of ``X``. ``X``,
    array_like or DataFrame: as it was given. ``rows`` (n, columns): it, and the rows that were
    given beside it. Raises SpecError or ArrayError if there is no such column, or its numbers are
    no categories.

    >>> numbered_columns([0, -1], None, np.array([[3.0, 0.5, 7.0]]))
    (0, 2)
    """
    names = [str(name) for name in getattr(X, "columns", ())]
    n, found = rows.shape[1], []
    for column in [embed] if isinstance(embed, str | int) else list(embed):
        if isinstance(column, str):
            refuse_unknown([column], names, "embed")
            found.append(names.index(column))
        elif is_whole(column, -n, n - 1):
            found.append(int(column) % n)
        else:
            raise SpecError(
                f"embed: {shortened(column)} is no column of X, which has {n}; name columns by "
                f"their positions, 0 to {n - 1}"
            )
    for column in found:
        check_categories(f"column {column}", rows[:, column])
    return tuple(sorted(set(found)))


def check_categories(name: str, values: np.ndarray) -> None:
    """Raise unless numbers are whole, and no more of them differ than a model can use."""
    broken = np.flatnonzero(values != np.round(values))
    if len(broken):
        raise ArrayError(
            f"embed: {name} is {values[broken[0]]} in row {broken[0]}; only whole numbers stand "
            "for categories: leave the column out of embed, or number its values"
        )
    different = len(np.unique(values))
    if different > MOST_CATEGORIES:
        raise ArrayError(
            f"embed: {name} has {different:,} different values, of which a model can use "
            f"{MOST_CATEGORIES:,} at most; join rare ones, or leave the column out of embed"
        )


def number_preprocess(embed: Sequence[int], columns: int, standardize: bool, weighted: bool) -> Any:
    """Return an unfitted ``ColumnTransformer``: zeros and ones of some columns, behind the others.

    Raises SpecError if others would be standardized by their weights, which a transformer does not
    look at.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    others = [k for k in range(columns) if k not in embed]
    if others and standardize and weighted:
        raise SpecError(
            "embed with weights: other columns would be standardized by rows, not by their "
            "weights; give standardize=False, and scale them before"
        )
    encoder = make_pipeline(OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    numbers = StandardScaler() if standardize else "passthrough"
    steps = [("numbers", numbers, others)] if others else []
    return ColumnTransformer([*steps, ("categories", encoder, list(embed))])


def blocks_of(preprocess: Any, embed: Sequence[str | int], dim: int) -> tuple[int, ...]:
    """Return the blocks of columns that are to be embedded.

    ``preprocess``, ColumnTransformer: fitted, of
    :func:`sweeps.problems.preprocessing.default_preprocess` or :func:`number_preprocess`.
    ``embed``: columns of categories. ``dim``: length of their embeddings.
    """
    blocks: list[int] = []
    low = 0
    for name, step, columns in preprocess.transformers_:
        if name != "categories":
            low += len(columns)
            continue
        for column, categories in zip(columns, step[-1].categories_):
            if column in embed:
                blocks += [low, len(categories), dim]
            low += len(categories)
    return tuple(blocks)


@jitable
def tables_size(blocks):
    """Return how many numbers all tables have."""
    total = 0
    for b in range(0, blocks.size, 3):
        total += blocks[b + 1] * blocks[b + 2]
    return total


@jitable
def embed(X, blocks, tables, out):
    """Write the other features of each row, and behind them its embeddings."""
    for i in range(X.shape[0]):
        at, low = 0, 0
        for b in range(0, blocks.size + 3, 3):
            high = blocks[b] if b < blocks.size else X.shape[1]
            for j in range(low, high):
                out[i, at] = X[i, j]
                at += 1
            low = blocks[b] + blocks[b + 1] if b < blocks.size else high
        table = 0
        for b in range(0, blocks.size, 3):
            dim = blocks[b + 2]
            for d in range(dim):
                out[i, at + d] = 0
            for k in range(blocks[b], blocks[b] + blocks[b + 1]):
                add_row(out[i, at : at + dim], X[i, k], tables[table : table + dim])
                table += dim
            at += dim


@jitable
def add_row(out, factor, row):
    """Add a row of a table to an embedding, or an embedding's error to one, if it has a share."""
    if factor != 0:
        for d in range(out.size):
            out[d] += factor * row[d]


@jitable
def add_slopes(X, blocks, error, slopes):
    """Write the slopes of tables, of the error of what :func:`embed` wrote."""
    for j in range(slopes.size):
        slopes[j] = 0
    others = error.shape[1]
    for b in range(0, blocks.size, 3):
        others -= blocks[b + 2]
    for i in range(X.shape[0]):
        at, table = others, 0
        for b in range(0, blocks.size, 3):
            dim = blocks[b + 2]
            for k in range(blocks[b], blocks[b] + blocks[b + 1]):
                add_row(slopes[table : table + dim], X[i, k], error[i, at : at + dim])
                table += dim
            at += dim


@jitable
def by_blas(delta, w, out):
    """Write ``delta @ w.T`` to ``out``."""
    np.dot(delta, w.T, out)


@jitable
def in_order(delta, w, out):
    """Write ``delta @ w.T`` to ``out``, each number as a sum in order: the same on every CPU."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = delta[i, 0] * w[j, 0]
            for k in range(1, delta.shape[1]):
                total += delta[i, k] * w[j, k]
            out[i, j] = total


times_transposed = by_blas if mode() == "native" else in_order


def embedded_passes(forward: Callable, backward: Callable) -> tuple[Callable, Callable]:
    """Return the passes through a network that takes embedded rows, from the features on."""

    @jitable
    def embedded_forward(theta, X, aux, work):
        n, low = theta.size - tables_size(aux[3]), work.size - X.shape[0] * aux[0][0]
        inputs = matrix(work, low, X.shape[0], aux[0][0])
        embed(X, aux[3], theta[n:], inputs)
        forward(theta[:n], inputs, aux, work[:low])

    @jitable
    def embedded_backward(theta, X, aux, grad, work):
        rows, width, m = X.shape[0], aux[0][0], aux[0][1]
        n, low = theta.size - tables_size(aux[3]), work.size - rows * width
        inputs = matrix(work, low, rows, width)
        backward(theta[:n], inputs, aux, grad[:n], work[:low])
        # The error of the first layer's products lies at the front.
        times_transposed(matrix(work, 0, rows, m), matrix(theta, 0, width, m), inputs)
        add_slopes(X, aux[3], inputs, grad[n:])

    return embedded_forward, embedded_backward


@functools.lru_cache(maxsize=64)
def embedded_init(init: Callable) -> Callable:
    """Return what writes initial parameters: tables are normal with variance 1, as torch's."""

    @jitable
    def begin(theta, aux, seed):
        n = theta.size - tables_size(aux[3])
        init(theta[:n], aux, seed)
        fill_normal(theta[n:], 1.0, seed, n)

    return begin
