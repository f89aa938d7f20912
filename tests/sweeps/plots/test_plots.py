"""Pictures: what is drawn equals what NumPy counts one cell at a time."""

import itertools
import math

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import LogNorm, to_hex

from fastopt.errors import HyperparameterError, SpecError
from fastopt.schedules import SCHEDULES, cosine
from sweeps import Space, SweepResult, logspace, plots, problems, trace
from sweeps.analysis.stats import mode_of
from sweeps.plots import PLOTS, Plotter, style
from sweeps.plots.axes import axis_of, is_log
from sweeps.plots.tables import main_axes, table_of_axes
from tests.helpers.pictured import BATCHES, DIVERGED, LRS, SEEDS, SPACE, made

NAN = math.nan
RESULT = made()
FRAME = RESULT.to_frame()


def inked(ax):
    """Return the share of pixels that are not background, of the picture as a reader sees it."""
    figure = np.ravel(np.asarray(ax, object))[0].get_figure(root=True)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    return float((np.abs(pixels - 255).sum(axis=2) > 30).mean())


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def cells(ax, k=0):
    return ax.collections[k].get_array()


def counted(over, *, mean_of_seeds=True, metric="train_loss", **fixed):
    """Aggregate the frame by loops: the value of every (batch size, lr)."""
    found = np.full((len(BATCHES), len(LRS)), NAN)
    for (i, batch), (j, lr) in itertools.product(enumerate(BATCHES), enumerate(LRS)):
        scores = []
        for optimizer in fixed.get("optimizer", ["sgd", "adam"]):
            here = FRAME[(FRAME["optimizer"] == optimizer) & (FRAME["lr"] == lr)]
            here = here[(here["batch_size"] == batch) & (here["state"] == "COMPLETE")]
            values = [v for v in here[metric].tolist() if v == v]
            scores += [sum(values) / len(values)] if mean_of_seeds and values else values
        if scores:
            found[i, j] = over(scores)
    return found


# --- axes and tables -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "scale", "edges"),
    [
        ([1, 2, 3], "linear", [0.5, 1.5, 2.5, 3.5]),
        ([0.01, 0.1, 1.0], "log", [0.01 / 10**0.5, 0.1 / 10**0.5, 10**-0.5, 10**0.5]),
        ([16, 32, 64, 128], "log", [2**k for k in (3.5, 4.5, 5.5, 6.5, 7.5)]),
        ([0.8, 0.9, 0.95], "ordinal", [-0.5, 0.5, 1.5, 2.5]),
        ([0.0, 1e-4, 1e-3], "ordinal", [-0.5, 0.5, 1.5, 2.5]),
        ([16, 256], "ordinal", [-0.5, 0.5, 1.5]),
        ([True, False], "ordinal", [-0.5, 0.5, 1.5]),
        (["b", "a"], "ordinal", [-0.5, 0.5, 1.5]),
    ],
)
def test_values_that_are_evenly_spaced_are_drawn_to_scale(column, scale, edges):
    axis = axis_of("x", np.array(column[::-1] + column))
    assert axis.scale == scale
    np.testing.assert_allclose(axis.edges, edges, rtol=1e-12)
    assert axis.values[axis.codes].tolist() == column[::-1] + column


def test_trials_without_an_axis_have_no_cell():
    for column in (
        [0.1, NAN, 0.2],
        np.array(["a", None, "b"], object),
        np.array([3, None, 5], object),
    ):
        assert axis_of("x", np.array(column)).codes.tolist() == [0, -1, 1]


def test_random_draws_share_even_cells():
    draws = 10.0 ** np.random.default_rng(0).uniform(-4, 0, 5000)
    axis = axis_of("lr", draws)
    assert (len(axis), axis.scale) == (64, "log")
    expected, edges = np.histogram(np.log10(draws), 64)
    np.testing.assert_array_equal(np.bincount(axis.codes, minlength=64), expected)
    np.testing.assert_allclose(np.log10(axis.edges), edges, atol=1e-12)


def test_labels_tell_values_apart():
    assert axis_of("x", np.array([0.99991, 0.99992, 0.9])).labels == ["0.9", "0.99991", "0.99992"]
    assert is_log([1, 10]), not is_log([1, 9])


@pytest.mark.parametrize(("over", "function"), [("best", min), ("worst", max), ("mean", np.mean)])
def test_cells_hold_the_mean_over_seeds_of_the_configurations(over, function):
    found = table_of_axes(RESULT, ["batch_size", "lr"], over=over)
    np.testing.assert_allclose(found.value, counted(function), rtol=1e-14)
    ended = FRAME[FRAME["state"].isin(["COMPLETE", "DIVERGED"])]
    for (i, batch), (j, lr) in itertools.product(enumerate(BATCHES), enumerate(LRS)):
        here = ended[(ended["batch_size"] == batch) & (ended["lr"] == lr)]["state"] == "DIVERGED"
        np.testing.assert_equal(found.diverged[i, j], here.mean() if len(here) else NAN)


def test_seeds_are_not_averaged_when_they_are_looked_at():
    found = table_of_axes(RESULT, ["seed", "lr"])
    for (i, seed), (j, lr) in itertools.product(enumerate(SEEDS), enumerate(LRS)):
        here = FRAME[(FRAME["seed"] == seed) & (FRAME["lr"] == lr)]["train_loss"]
        np.testing.assert_equal(found.value[i, j], here.min())


def test_good_is_what_the_name_of_a_metric_says():
    assert [mode_of(RESULT, m) for m in ("train_loss", "test_accuracy")] == ["min", "max"]
    found = table_of_axes(RESULT, ["batch_size", "lr"], "test_accuracy")
    np.testing.assert_allclose(found.value, counted(max, metric="test_accuracy"), rtol=1e-14)


def test_the_axes_most_worth_a_picture():
    assert main_axes(RESULT, 3) == ["lr", "batch_size", "optimizer"]
    with pytest.raises(SpecError, match="needs 5 axes with two values or more; this result has lr"):
        main_axes(RESULT, 5)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["lr", "lr"], "must be different ones; got lr, lr"),
        (["lr", "batchsize"], "did you mean 'batch_size'"),
    ],
)
def test_wrong_axes_are_refused(names, message):
    with pytest.raises(SpecError, match=message):
        RESULT.plot.heatmap(*names)
    assert not pyplot.get_fignums()


# --- heatmap and phase ---------------------------------------------------------------------------


def test_heatmap():
    ax = RESULT.plot.heatmap("lr", "batch_size")
    expected = counted(min)
    np.testing.assert_allclose(cells(ax).filled(NAN), expected, rtol=1e-14)
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "lr", "batch_size")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["16", "64", "256"]
    assert legend(ax) == ["no value", "best"]
    assert isinstance(ax.collections[0].norm, LogNorm)
    i, j = np.unravel_index(np.nanargmin(expected), expected.shape)
    (ring,) = {tuple(np.ravel(line.get_data())) for line in ax.get_lines()}
    assert ring == pytest.approx((LRS[j], BATCHES[i]))
    assert ax.figure.axes[1].get_ylabel() == "best train_loss"
    written = {text.get_text() for text in ax.texts}
    assert written == {f"{float(f'{v:.3g}'):.4g}" for v in expected[~np.isnan(expected)]}
    assert inked(ax) > 0.3


def test_diverged_and_empty_cells_have_colours_of_their_own():
    ax = RESULT.plot.heatmap("lr", "batch_size", facet="optimizer")[1]
    values = counted(min, optimizer=["adam"])
    np.testing.assert_allclose(cells(ax).filled(NAN), values, rtol=1e-14)
    state = FRAME[FRAME["optimizer"] == "adam"].groupby(["batch_size", "lr"])["state"]
    lost = state.agg(lambda s: (s == "DIVERGED").any()).unstack().to_numpy() & np.isnan(values)
    assert lost.sum() == 3
    np.testing.assert_array_equal(cells(ax, 1).mask, ~lost)
    np.testing.assert_array_equal(cells(ax, 2).mask, ~(np.isnan(values) & ~lost))
    ax.figure.canvas.draw()
    for k, colour in ((1, style.DIVERGED), (2, style.NOTHING)):
        drawn = ax.collections[k].get_facecolor()[~cells(ax, k).mask.ravel()]
        assert {to_hex(c) for c in drawn} == {colour.lower()}
    (box,) = ax.figure.legends
    assert [text.get_text() for text in box.get_texts()] == ["diverged", "no value", "best"]


def test_facets_share_their_colours_and_may_be_given_axes():
    _, given = pyplot.subplots(1, 2)
    found = RESULT.plot.heatmap("lr", "batch_size", facet="optimizer", ax=given)
    assert found.tolist() == given.tolist()
    assert [ax.get_title() for ax in found] == ["optimizer = sgd", "optimizer = adam"]
    assert len({(ax.collections[0].norm.vmin, ax.collections[0].norm.vmax) for ax in found}) == 1
    assert inked(found) > 0.3
    with pytest.raises(SpecError, match="has 2 values; got 1 axes"):
        RESULT.plot.heatmap("lr", "batch_size", facet="optimizer", ax=given[0])


def test_good_is_bright_whether_small_or_large():
    for metric in ("train_loss", "test_accuracy"):
        ax = RESULT.plot.heatmap("lr", "batch_size", metric=metric)
        mesh = ax.collections[0]
        ax.figure.canvas.draw()
        value = mesh.get_array()
        best = (value.argmin if metric == "train_loss" else value.argmax)()
        assert to_hex(mesh.get_facecolor()[best]) == to_hex(pyplot.colormaps["viridis"](1.0))


@pytest.mark.parametrize(
    ("values", "mode", "ends", "beyond"),
    [
        ([0.1, 0.7, 0.8, 0.9], "max", (0.45, 0.9), "min"),  # 3 x (0.9 - 0.75) below the best
        ([0.5, 0.7, 0.8, 0.9], "max", (0.5, 0.9), "neither"),
        ([1.0, 2.0, 4.0, 8.0, 9.9], "min", (1.0, 9.9), "neither"),
        ([1.0, 2.0, 3.0, 9.0], "min", (1.0, 5.5), "max"),
        ([1.0, 10.0, 1e9], "min", (1.0, 1e3), "max"),  # three decades: the scale is logarithmic
        ([5.0, 5.0, 5.0, 1.0], "max", (1.0, 5.0), "neither"),  # most are the best
        ([NAN, 2.0], "min", (2.0, 2.0), "neither"),
        ([NAN], "min", (0.0, 1.0), "neither"),
    ],
)
def test_a_few_bad_cells_do_not_take_the_colours_of_all(values, mode, ends, beyond):
    norm, found = style.colour_norm(np.array(values), mode)
    assert (norm.vmin, norm.vmax) == pytest.approx(ends)
    assert found == beyond


def test_nothing_finished():
    columns = {k: a[SPACE.columns(np.arange(48))["lr"] == 1.0] for k, a in RESULT.columns.items()}
    columns["state"] = np.full_like(columns["state"], DIVERGED)
    columns["train_loss"] = np.full(12, NAN)
    ax = SweepResult(columns, None, "train_loss", "min", {}).plot.heatmap("batch_size", "optimizer")
    assert legend(ax) == ["diverged"]
    assert not cells(ax, 1).mask.any()


def test_phase():
    ax = RESULT.plot.phase("lr", "batch_size")
    expected = table_of_axes(RESULT, ["batch_size", "lr"]).diverged
    np.testing.assert_array_equal(cells(ax).filled(NAN), expected)
    assert ax.figure.axes[1].get_ylabel() == "share of trials diverged"
    assert inked(ax) > 0.3
    adam = {k: a[RESULT.columns["optimizer"] == "adam"] for k, a in RESULT.columns.items()}
    sharp = SweepResult(adam, None, "train_loss", "min", {}).plot.phase("lr", "seed")
    assert legend(sharp) == ["converged", "diverged"]
    assert len(sharp.figure.axes) == 1
    colours = sharp.collections[0].to_rgba([0.0, 1.0])
    assert [to_hex(c) for c in colours] == ["#0072b2", style.DIVERGED.lower()]


# --- lines ---------------------------------------------------------------------------------------


def tuned(optimizer, lr, metric="train_loss"):
    """Return mean, least and largest over seeds of the best configuration, by loops."""
    best = (NAN, NAN, NAN)
    for batch in BATCHES:
        here = FRAME[(FRAME["optimizer"] == optimizer) & (FRAME["lr"] == lr)]
        values = here[here["batch_size"] == batch][metric].dropna()
        if len(values) and not values.mean() >= best[0]:
            best = values.mean(), values.min(), values.max()
    return best


def test_sensitivity():
    ax = RESULT.plot.sensitivity("lr", by="optimizer")
    for k, optimizer in enumerate(["sgd", "adam"]):
        expected = np.array([tuned(optimizer, lr) for lr in LRS])
        known = ~np.isnan(expected[:, 0])
        line = ax.get_lines()[k]
        np.testing.assert_allclose(line.get_xdata(), np.array(LRS)[known])
        np.testing.assert_allclose(line.get_ydata(), expected[known, 0], rtol=1e-14)
        drawn = ax.collections[k].get_paths()[0].vertices
        sides = {tuple(np.round(p, 14)) for p in drawn}
        for side in (1, 2):
            assert {*zip(np.round(LRS, 14)[known], np.round(expected[known, side], 14))} <= sides
    assert legend(ax) == ["sgd", "adam"]
    assert (ax.get_xscale(), ax.get_ylabel()) == ("log", "train_loss")
    assert inked(ax) > 0.02


def test_values_where_all_diverged_are_marked():
    adam = {k: a[RESULT.columns["optimizer"] == "adam"] for k, a in RESULT.columns.items()}
    ax = SweepResult(adam, None, "train_loss", "min", {}).plot.sensitivity("lr")
    cross = ax.get_lines()[-1]
    assert (cross.get_label(), cross.get_color()) == ("all diverged", style.DIVERGED)
    assert cross.get_xdata().tolist() == [1.0]


@pytest.mark.parametrize("band", ["std", "ci"])
def test_bands_are_those_of_over_seeds(band):
    few = {k: a[RESULT.columns["batch_size"] == 64] for k, a in RESULT.columns.items()}
    few = {k: a[few["optimizer"] == "sgd"] for k, a in few.items()}
    result = SweepResult(few, None, "train_loss", "min", {})
    frame = result.over_seeds(metrics=["train_loss"])
    ax = result.plot.sensitivity("lr", band=band)
    high = frame["mean_train_loss"] + frame["std_train_loss"]
    high = high if band == "std" else frame["ci_high_train_loss"]
    drawn = {*np.round(ax.collections[0].get_paths()[0].vertices[:, 1], 12)}
    assert {*np.round(high.dropna(), 12)} <= drawn


def test_steps_to_target():
    ax = RESULT.plot.steps_to_target(by="optimizer")
    line = ax.get_lines()[0]
    expected = []
    for batch in BATCHES:
        here = FRAME[(FRAME["optimizer"] == "sgd") & (FRAME["batch_size"] == batch)]
        steps = here.groupby("lr")["steps_to_target"].agg(["mean", "count"])
        expected.append(steps[steps["count"] == 2]["mean"].min())
    np.testing.assert_allclose(line.get_ydata(), np.array(expected, float))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    slope = next(line for line in ax.get_lines() if line.get_label() == "slope -1")
    x, y = slope.get_data()
    assert np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(-1.0)
    assert y[0] == min(line.get_ydata()[0] for line in ax.get_lines()[:2])
    assert legend(ax) == ["sgd", "adam", "slope -1"]
    assert inked(ax) > 0.02


def test_no_target_is_said():
    columns = {k: a for k, a in RESULT.columns.items() if k != "steps_to_target"}
    with pytest.raises(SpecError, match=r"run sweep\(\.\.\., target=\.\.\.\)"):
        SweepResult(columns, None, "train_loss", "min", {}).plot.steps_to_target()


def test_curves():
    ax = RESULT.plot.curves(n=2)
    best = RESULT.best(2)["trial_id"]
    for k, i in enumerate(best):
        own = RESULT.curves()[lambda f, i=i: f["trial_id"] == i]
        np.testing.assert_array_equal(ax.get_lines()[k].get_ydata(), own["train_loss"])
    median = RESULT.curves().groupby("step")["train_loss"].median()
    np.testing.assert_allclose(ax.get_lines()[2].get_ydata(), median)
    assert ax.get_lines()[2].get_xdata().tolist() == [0, 10, 20, 30, 40]
    assert legend(ax)[2:] == ["median of 48 trials", "10 % to 90 %"]
    assert inked(ax) > 0.02


def test_curves_by_an_axis_hold_a_value_until_the_next():
    held = {"trial_id": np.arange(4), "step": np.array([[0, 2.0], [0, 4], [0, 4], [0, -1]])}
    held["loss"] = np.array([[9.0, 5.0], [8.0, 4.0], [7.0, 1.0], [6.0, NAN]])
    columns = {"trial_id": np.arange(4), "a": np.array([0, 0, 1, 1]), "state": np.zeros(4, int)}
    result = SweepResult(columns | {"loss": held["loss"][:, 0]}, held, "loss", "min", {})
    first, second = result.plot.curves(by="a").get_lines()
    assert first.get_data()[0].tolist() == [0, 2, 4]
    assert first.get_data()[1].tolist() == [8.5, 6.5, 4.0]  # trial 0 ends at 2, trial 1 holds 8
    assert second.get_data()[1].tolist() == [6.5, 1.0]


def test_curves_that_were_not_recorded_are_said():
    with pytest.raises(SpecError, match=r"sweep\(\.\.\., curves=True\)"):
        made(curves=False).plot.curves()


# --- effects -------------------------------------------------------------------------------------


def test_importance():
    columns = {k: a[RESULT.columns["lr"] == 0.1] for k, a in RESULT.columns.items()}
    result = SweepResult(columns, None, "train_loss", "min", {})
    frame = result.importance()
    ax = result.plot.importance(n=4)
    assert [bar.get_width() for bar in ax.patches if bar.get_width()] != []
    drawn = {bar.get_y() + 0.5 * bar.get_height(): bar.get_width() for bar in ax.patches}
    assert [drawn[k] for k in range(4)] == frame["share"].head(4).tolist()
    assert [t.get_text() for t in ax.get_yticklabels()] == frame["effect"].head(4).tolist()
    assert inked(ax) > 0.02


def test_parallel_coordinates_draw_pairs_of_values_not_trials():
    ax = RESULT.plot.parallel_coordinates(["optimizer", "lr"])
    first, _ = (c for c in ax.collections if len(c.get_segments()) > 3)
    assert len(first.get_segments()) == 2 * 4
    counts = FRAME.groupby(["optimizer", "lr"], observed=True).size()
    widths = {round(float(w), 9) for w in first.get_linewidths()}
    assert widths == {round(0.4 + 4.6 * math.sqrt(n / counts.max()), 9) for n in counts}
    colours = {to_hex(c) for c in first.get_colors()}
    assert style.DIVERGED.lower() in colours  # adam at lr = 1 never finished
    assert legend(ax) == ["best trial"]
    assert "diverged" in {text.get_text() for text in ax.texts}
    best = RESULT.best(1).iloc[0]  # a line a trial, and the best of them
    path = ax.get_lines()[0].get_ydata()
    assert path[0] == ["sgd", "adam"].index(best["optimizer"])
    assert path[1] == pytest.approx(LRS.index(best["lr"]) / 3)
    assert path[2] == pytest.approx(1.0, abs=1 / 24)
    assert inked(ax) > 0.02


# --- runs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bowl():
    return problems.ellipse()


@pytest.fixture(scope="module")
def walked(bowl):
    return trace(bowl, "adam", lr=0.5, steps=12)


def test_paths(bowl, walked):
    ax = plots.paths(bowl, {"adam": walked})
    line = next(line for line in ax.get_lines() if line.get_label() == "adam")
    np.testing.assert_array_equal(line.get_xdata(), walked["x"])
    np.testing.assert_array_equal(line.get_ydata(), walked["y"])
    assert legend(ax) == ["adam", "optimum"]
    (low, high), (left, right) = ax.get_ylim(), ax.get_xlim()
    assert left < walked["x"].min() < walked["x"].max() < right
    assert low < walked["y"].min() < walked["y"].max() < high
    assert inked(ax) > 0.3


def test_a_path_that_flies_off_does_not_hide_the_others(bowl, walked):
    away = walked.assign(x=np.geomspace(10.0, 1e30, len(walked)))
    ax = plots.paths(bowl, {"adam": walked, "away": away})
    assert ax.get_xlim()[1] < 1e3
    narrow = plots.paths(bowl, walked, view=((-1, 1), (-2, 2)))
    assert (narrow.get_xlim(), narrow.get_ylim()) == ((-1, 1), (-2, 2))


def test_paths_need_two_coordinates(walked):
    with pytest.raises(SpecError, match="need a landscape of two coordinates"):
        plots.paths(problems.landscape(lambda x: (x * x, (2 * x,)), (1.0,)), walked)
    with pytest.raises(SpecError, match="has no column 'y'; it has step, loss"):
        plots.paths(problems.ellipse(), walked[["step", "loss", "x"]])


def test_films(bowl, walked, tmp_path):
    from PIL import Image

    path = tmp_path / "walk.gif"
    ax = plots.animate_paths(bowl, {"adam": walked}, path, fps=5, seconds=1.0)
    with Image.open(path) as film:
        assert film.n_frames == 5
        first = np.asarray(film.convert("L")).astype(int)
        film.seek(4)
        assert (np.abs(np.asarray(film.convert("L")).astype(int) - first) > 50).sum() > 100
    assert ax.get_title(loc="left") == f"step {len(walked) - 1}"
    with pytest.raises(SpecError, match=r"a film is written as \.gif or \.mp4"):
        plots.animate_paths(bowl, walked, tmp_path / "walk.avi")


def test_films_for_phones(bowl, walked, tmp_path):
    """Frames and size of an MP4 as ffmpeg reads them back; by the package where it is needed."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "walk.mp4"
    plots.animate_paths(bowl, {"adam": walked}, path, fps=5, seconds=1.0)
    assert path.read_bytes()[4:8] == b"ftyp"
    assert imageio_ffmpeg.count_frames_and_secs(path) == (5, 1.0)
    assert pyplot.rcParams["animation.ffmpeg_path"] == "ffmpeg"  # nobody else's setting is changed


def test_a_film_without_ffmpeg_is_refused(bowl, walked, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(pyplot.rcParams, "animation.ffmpeg_path", "no-such-program")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(SpecError, match=r"\.mp4 needs ffmpeg: .*`pip install imageio-ffmpeg`"):
        plots.animate_paths(bowl, walked, tmp_path / "walk.mp4")
    assert not pyplot.get_fignums()


def test_schedules():
    given = {"half": cosine(50), "whole": "cosine"}
    ax = plots.schedules(given, steps=100, lr=0.1)
    half, whole = ax.get_lines()
    t = np.arange(101.0)
    expected = 0.05 * (1.0 + np.cos(np.pi * t / 100))
    np.testing.assert_allclose(whole.get_ydata(), expected, atol=1e-15)
    np.testing.assert_allclose(half.get_ydata()[:51], expected[::2], atol=1e-15)
    assert legend(ax) == ["half", "whole"]
    assert inked(ax) > 0.02
    with pytest.raises(HyperparameterError, match="did you mean 'cosine'"):
        plots.schedules(["cosin"])


def test_every_schedule_can_be_drawn():
    free = [n for n, row in SCHEDULES.items() if not any(_needed(k) for k in row.params.values())]
    assert len(plots.schedules(free, 50).get_lines()) == len(free) >= 4


def _needed(kind):
    return math.isnan(kind.default) and not getattr(kind, "run_length", False)


def test_internals(walked):
    found = plots.internals(walked)
    names = [ax.get_ylabel() for ax in found]
    assert {"loss", "grad", "update", "exp_avg", "m_hat", "v_hat", "effective_lr"} <= {*names}
    grad = found[names.index("grad")]
    assert legend(grad) == ["x", "y", "norm"]
    np.testing.assert_array_equal(grad.get_lines()[1].get_ydata(), walked["grad_y"])
    assert inked(found) > 0.02
    with pytest.raises(SpecError, match="no column of the frame is 'gard'"):
        plots.internals(walked, ["gard"])


# --- all of them ---------------------------------------------------------------------------------


def test_the_table_and_the_methods_are_the_same_pictures():
    assert [name for name in vars(Plotter) if not name.startswith("_")] == [*PLOTS]


@pytest.mark.parametrize("name", PLOTS)
def test_every_picture_draws_on_axes_it_is_given(name):
    figure, given = pyplot.subplots()
    result = RESULT if name != "importance" else made_full()
    assert PLOTS[name](result, ax=given) is given
    assert pyplot.get_fignums() == [figure.number]
    assert inked(given) > 0.01


def made_full():
    """Return a grid without holes: failed trials cannot be part of an analysis of variance."""
    columns = {k: a[RESULT.columns["lr"] > 0.001] for k, a in RESULT.columns.items()}
    return SweepResult(columns, None, "train_loss", "min", {})


def test_as_many_artists_for_a_hundred_thousand_trials_as_for_a_hundred():
    rng = np.random.default_rng(0)
    counts = []
    for n in (5_000, 50_000):
        axes = {"lr": 10 ** rng.uniform(-4, 0, n), "beta1": rng.uniform(0, 1, n)}
        columns = {"trial_id": np.arange(n), **axes, "seed": rng.integers(0, 9, n)}
        columns |= {"state": (axes["lr"] > 0.5).astype(int), "loss": rng.random(n)}
        result = SweepResult(columns, None, "loss", "min", {})
        pictures = (result.plot.heatmap(), result.plot.parallel_coordinates(["lr", "beta1"]))
        counts.append([sum(map(size, ax.collections)) + len(ax.get_lines()) for ax in pictures])
    assert counts[1][0] == counts[0][0] <= 3 * 64 * 64 + 2
    assert counts[1][1] <= 2 * 24 * 25 + 8


def size(collection):
    held = collection.get_array()
    return len(collection.get_paths()) if held is None else held.size


def test_a_grid_of_a_million_trials_is_counted_as_numpy_does():
    space = Space(
        {"lr": logspace(1e-4, 1, 100), "beta1": np.linspace(0, 0.9, 100), "seed": range(100)}
    )
    n = len(space)
    state = np.zeros(n, np.int8)
    loss = np.random.default_rng(0).random(n)
    columns = {
        "trial_id": np.arange(n),
        **space.columns(np.arange(n)),
        "state": state,
        "loss": loss,
    }
    ax = SweepResult(columns, None, "loss", "min", {}, space).plot.heatmap("lr", "beta1")
    expected = loss.reshape(100, 100, 100).mean(axis=2).T
    np.testing.assert_allclose(cells(ax), expected, rtol=1e-12)
    assert ax.get_xscale() == "log"


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "fastopt\[plot\]"'):
        RESULT.plot.heatmap("lr", "batch_size")


def test_nothing_to_draw_is_said():
    columns = {"trial_id": np.zeros(0, int), "a": np.zeros(0), "b": np.zeros(0)}
    columns |= {"state": np.zeros(0, int), "loss": np.zeros(0)}
    empty = SweepResult(columns, None, "loss", "min", {})
    for draw in (empty.plot.heatmap, empty.plot.phase):
        with pytest.raises(SpecError, match="no trial has finished"):
            draw("a", "b")
    assert not pyplot.get_fignums()


def test_one_trial_is_one_cell():
    columns = {"trial_id": np.arange(1), "a": np.ones(1), "b": np.array(["x"], object)}
    one = SweepResult(
        columns | {"state": np.zeros(1, int), "loss": np.ones(1)}, None, "loss", "min", {}
    )
    assert cells(one.plot.heatmap("a", "b")).filled(NAN).tolist() == [[1.0]]
    assert one.plot.sensitivity("a").get_lines()[0].get_ydata().tolist() == [1.0]
    assert legend(one.plot.parallel_coordinates(["a", "b"])) == ["best trial"]


def test_the_colour_bar_says_what_was_picked_from_others():
    """An axis that varies only far behind in the frame counts as one, too."""
    space = Space({"k": [0, 1], "a": range(40), "b": range(40)})
    columns = {"trial_id": np.arange(3200), **space.columns(np.arange(3200))}
    columns |= {"state": np.zeros(3200, int), "loss": np.random.default_rng(0).random(3200)}
    result = SweepResult(columns, None, "loss", "min", {}, space)
    assert result.plot.heatmap("a", "b").figure.axes[1].get_ylabel() == "best loss"
    assert result.plot.heatmap("a", "b", facet="k")[0].figure.axes[2].get_ylabel() == "loss"
