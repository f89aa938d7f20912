"""What a report says in words: summary, best trials, diagnosis."""

from __future__ import annotations

from typing import Any

import numpy as np

from sweeps.analysis.folds import best_setting, edges, in_words, over_folds, repeats_of
from sweeps.analysis.stats import best_first
from sweeps.analysis.table import Table
from sweeps.common.frames import pd
from sweeps.common.names import SEED
from sweeps.common.states import State
from sweeps.common.text import format_duration, format_number
from sweeps.plots.axes import axis_of, label_of
from sweeps.plots.tables import table_of_axes, varying_axes
from sweeps.plots.tuned import seed_spread

BEST = 15
MOST_FOLDS = 10
LINE = " line"  # no axis is called so
SHOWN = ("train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy", "steps_to_target")
"""What is shown of a trial beside its axes and the metric of the sweep, where it has that."""


def shown_of(result: Table) -> list[str]:
    """Return the metrics that are shown of trials: not those of test rows where others choose.

    Who looks at the test rows of all trials chooses by them.
    """
    chosen = any(name.startswith("val_") for name in result.metrics)
    names = [n for n in SHOWN if n in result.metrics and not (chosen and n.startswith("test_"))]
    return names if result.metric in names else [*names, result.metric]


Text = tuple[list[str], list[list[str]]]


def summary(result: Table) -> dict[str, str]:
    """Return the figures at the head of a report, by name."""
    info = result.info
    facts = {"trials": f"{len(result):,} of {info.get('n_trials', len(result)):,}"}
    facts |= {state.lower(): f"{n:,}" for state, n in result.counts.items() if n}
    if found := best_setting(result):  # the best trial owes part of its lead to its fold or seed
        facts[f"best mean {result.metric}"] = f"{found.mean:.5g}"
    elif result.counting(result.metric).any():
        facts[f"best {result.metric}"] = f"{result.best_score_:.5g}"
    if "seconds" in info:
        facts["time"] = format_duration(info["seconds"])
    if "trials_per_second" in info:
        facts["trials a second"] = f"{info['trials_per_second']:,.4g}"
    return facts


def lead(result: Table) -> str:
    """Say in a sentence what was swept and what is good."""
    sizes = {name: len({*result.columns[name]}) for name in varying_axes(result)}
    swept = " x ".join(f"{name} ({size:,})" for name, size in sizes.items()) or "no axis"
    good = "smallest" if result.mode == "min" else "largest"
    over = repeats_of(result)
    mean = f" mean over {in_words(over)} of" if over else ""
    good = f"the {good}{mean} {result.metric}"
    return f"Each trial is a whole training run. Swept: {swept}. The best has {good}."


def best(result: Table) -> list[tuple[str, str, str, Text]]:
    """Return the tables of what is best: id, title, a note, and header with rows as text."""
    lucky = "; each has seen one fold, and the first ones may owe their place to an easy one"
    note = lucky if "fold" in varying_axes(result) else ""
    trials = result.best(BEST)[["trial_id", *varying_axes(result), *shown_of(result)]]
    tables = [("best", "Best trials", note, _table(trials))]
    over = repeats_of(result) if result.counting(result.metric).any() else []
    if "fold" in over and "fold" in varying_axes(result):
        note = f", by the mean over {in_words(over)}; of those within one standard error of the "
        note += "best, the simplest will do"
        title = f"Best over {in_words(over)}"
        tables.insert(0, ("folds", title, note, best_over_folds(result, over)))
    elif SEED in over:
        note = ", averaged over seeds: the best single trial of many owes part of its lead to luck"
        table = best_configurations(result)
        tables.insert(0, ("configurations", "Best configurations", note, table))
    return tables


def best_over_folds(result: Table, over: list[str]) -> Text:
    """Return header and rows of the best means over folds as text, with the value on each fold."""
    own, keys = result.metric, [name for name in result.axes if name not in over]
    summary = over_folds(result, axis=over, metrics=[own]).head(10)
    lines = summary[keys].assign(**{LINE: np.arange(len(summary))})
    trials = result.to_frame()[[*keys, "fold", own]]
    on = {"on": keys} if keys else {"how": "cross"}
    on_fold = lines.merge(trials, **on).pivot_table(own, LINE, "fold", dropna=False)
    on_fold = on_fold.reindex(lines[LINE]).add_prefix("fold ").iloc[:, :MOST_FOLDS]
    figures = {"mean": f"mean_{own}", "standard error": f"se_{own}"}
    shown = summary[[n for n in keys if n in varying_axes(result)]]
    error = pd.DataFrame({title: summary[name] for title, name in figures.items()})
    error["within one of the best"] = np.where(summary["within_one_se"], "yes", "no")
    return _table(pd.concat([shown, error, on_fold.reset_index(drop=True)], axis=1))


def best_configurations(result: Table) -> Text:
    """Return header and rows of the best means over seeds of which every trial finished."""
    spread = seed_spread(result, result.metric)
    best = _rank_means(result, spread)[:10]
    rows = result._frame(spread["row"][best])[[n for n in varying_axes(result) if n != SEED]]
    shown = {"n_trials": "seeds", "mean": "mean", "std": "standard deviation"}
    shown |= {"min": "smallest", "max": "largest"}
    figures = pd.DataFrame({title: spread[name][best] for name, title in shown.items()})
    # Side by side, not by name: an axis may be called like a figure.
    return _table(pd.concat([rows, figures], axis=1))


def _table(frame: pd.DataFrame) -> Text:
    frame = frame.dropna(axis="columns", how="all")
    rows = [[format_number(cell) for cell in row] for row in frame.itertuples(index=False)]
    return list(frame.columns), rows


def diagnosis(result: Table) -> list[dict[str, str]]:
    """Return remarks on a result: dicts of ``kind`` (``"good"``, ``"warn"``), ``head``, ``text``.

    They say whether best values lie at the edge of the grid, from where on trials diverge, and
    where seeds disagree.
    """
    if not result.counting(result.metric).any():
        text = f"None of the {len(result):,} finished trials is complete with a finite "
        return [_remark("warn", "No best trial", f"{text}{result.metric}: {result.counts}.")]
    remarks = [
        _remark_on_interrupt(result),
        *_remarks_on_edges(result),
        *_remarks_on_divergence(result),
        *_remarks_on_seeds(result),
    ]
    return [remark for remark in remarks if remark]


def _remark(kind: str, head: str, text: str) -> dict[str, str]:
    return {"kind": kind, "head": head, "text": text}


def _remark_on_interrupt(result: Table) -> dict[str, str]:
    if not result.info.get("interrupted"):
        return {}
    left = result.info.get("n_trials", len(result)) - len(result)
    return _remark("warn", "Interrupted", f"{left:,} trials did not run.")


def _remarks_on_edges(result: Table) -> list[dict[str, str]]:
    what = "configuration" if best_setting(result) else "trial"
    found = [*edges(result).itertuples(index=False, name=None)]
    if not found:
        text = "The best value of every axis of three numbers or more lies inside of its range."
        return [_remark("good", "Not at the edge of the grid", text)]
    return [
        _remark(
            "warn",
            "At the edge of the grid",
            f"The best {what} has {name} = {label_of(value)}, the {_END[end]} of its axis: better "
            f'ones may lie beyond. Try result.extend({{"{name}": [...]}}).',
        )
        for name, value, end in found
    ]


_END = {"low": "smallest", "high": "largest"}


def _remarks_on_divergence(result: Table) -> list[dict[str, str]]:
    """Say for each optimizer from which learning rate on trials diverge."""
    state = np.asarray(result.columns["state"])
    lost, ended = int((state == State.DIVERGED).sum()), int((state <= State.DIVERGED).sum())
    if not lost:
        return [_remark("good", "Nothing diverged", f"All of {ended:,} trials stayed finite.")]
    head = f"{100.0 * lost / ended:.3g} % of the trials diverged"
    if "lr" not in varying_axes(result) or not axis_of("lr", result.columns["lr"]).numeric:
        return [_remark("warn", head, f"{lost:,} of {ended:,}.")]
    split = "optimizer" in varying_axes(result)
    found = table_of_axes(result, ["optimizer", "lr"] if split else ["lr"])
    labels, lrs = found.axes[0].labels if split else [""], found.axes[-1]
    parts = [
        f"{label}{': ' if label else ''}{_describe_boundary(lrs.labels, share)}"
        for label, share in zip(labels, np.atleast_2d(found.diverged))
    ]
    return [_remark("warn", head, f"{'; '.join(parts)}.")]


def _describe_boundary(lrs: list[str], share: np.ndarray) -> str:
    """Describe where along increasing learning rates trials begin to diverge."""
    known = np.flatnonzero(~np.isnan(share))
    some = known[share[known] > 0.0]
    if not some.size:
        return f"none up to lr = {lrs[known[-1]]}" if known.size else "none finished"
    whole = known[share[known] == 1.0]
    text = f"first at lr = {lrs[some[0]]}"
    # "All from" is true only if every larger one diverges altogether, too.
    above = next((k for k in whole.tolist() if (share[known[known >= k]] == 1.0).all()), None)
    if above is not None:
        text = "" if above == some[0] else f"{text}, "
        text += f"all from lr = {lrs[above]} on"
    return text


def _remarks_on_seeds(result: Table) -> list[dict[str, str]]:
    """Say where seeds disagree: some diverge and some do not, or they spread more than the best."""
    if SEED not in varying_axes(result):
        return [_remark("warn", "One seed", "How much results depend on the seed is not known.")]
    spread = seed_spread(result, result.metric, kept=("fold",))
    remarks = []
    mixed = (spread["n"] > 0) & (spread["n"] < spread["n_trials"])
    state = np.asarray(result.columns["state"])
    if mixed.any() and (state == State.DIVERGED).any():
        row = int(spread["row"][np.flatnonzero(mixed)[0]])
        text = f"In {int(mixed.sum()):,} of {len(mixed):,} configurations some seeds finish with a "
        text += (
            f"finite {result.metric} and some do not, for example {_configuration(result, row)}."
        )
        remarks.append(_remark("warn", "Seeds that disagree", text))
    return [*remarks, *_remark_on_lead(result, spread)]


def _rank_means(result: Table, spread: dict[str, Any]) -> np.ndarray:
    """Return the numbers of configurations of which every trial counts, the best mean first."""
    full = (spread["n"] == spread["n_trials"]) & np.isfinite(spread["mean"])
    return best_first(np.where(full, spread["mean"], np.nan), result.mode)


def _remark_on_lead(result: Table, spread: dict[str, Any]) -> list[dict[str, str]]:
    """Compare the lead of the best configuration with how far its seeds spread."""
    mean = spread["mean"] if result.mode == "min" else -spread["mean"]
    rows = _rank_means(result, spread)
    if len(rows) < 2:
        return []
    first = rows[0]
    half = float(spread["std"][first]) if "std" in spread else float("nan")
    close = int((mean[rows] <= mean[first] + half).sum()) - 1
    best = f"{_configuration(result, int(spread['row'][first]))} has a mean {result.metric} of "
    best += f"{spread['mean'][first]:.4g}, and its seeds a standard deviation of {half:.2g}. "
    if not close:
        return [_remark("good", "A clear winner", f"{best}No other configuration comes as close.")]
    text = f"{best}{close:,} other configurations lie within it: more seeds would tell them apart."
    return [_remark("warn", "The best is not alone", text)]


def _configuration(result: Table, row: int) -> str:
    names = [name for name in varying_axes(result) if name != SEED]
    cells = {name: result.columns[name][row] for name in names}
    shown = (f"{name} = {label_of(c)}" for name, c in cells.items() if c is not None and c == c)
    return ", ".join(shown)
