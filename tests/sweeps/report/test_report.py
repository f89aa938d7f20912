"""Reports: their numbers against loops over the frame, their page in headless Chromium."""

import base64
import gzip
import html
import io
import itertools
import json
import math
import re
import sys

import numpy as np
import pytest

from sweeps import SweepResult, logspace, problems, sweep
from sweeps.plots.style import colour_norm
from sweeps.plots.tables import table_of_axes
from sweeps.report import charts, facts
from tests.helpers import browser
from tests.helpers.pictured import BATCHES, COMPLETE, DIVERGED, LRS, made

NAN = math.nan
EVIL = "</script><img src=x onerror=\"document.title='run'\">"
RESULT = made()
FRAME = RESULT.to_frame()


def held(page):
    """Return the numbers that a page carries."""
    (packed,) = re.findall(r'id="packed-data">([^<]*)<', page)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def short(values):
    """Round as a report does, and put None for NaN."""
    return [[None if v != v else float(f"{v:.4g}") for v in row] for row in values]


def of(columns, mode="min", **options):
    n = len(next(iter(columns.values())))
    given = {"trial_id": np.arange(n), **columns}
    return SweepResult(given, None, "loss", mode, {}, **options)


def drawn(n=3000, axes=8):
    """Return a result with as many random draws on every axis."""
    rng = np.random.default_rng(0)
    columns = {f"x{k}": rng.uniform(0.01, 1.0, n) for k in range(axes)}
    return of({**columns, "state": np.zeros(n, int), "loss": rng.random(n)})


# --- what is in it -------------------------------------------------------------------------------


def test_heatmaps_are_those_of_the_pictures():
    found = charts.heatmaps(RESULT)
    names = [axis["name"] for axis in found["axes"]]
    assert names == ["lr", "batch_size", "optimizer", "seed"]
    assert found["axes"][1]["labels"] == ["16", "64", "256"]
    assert [m["name"] for m in found["metrics"]] == [
        "train_loss",
        "test_accuracy",
        "steps_to_target",
    ]
    assert [m["mode"] for m in found["metrics"]] == ["min", "max", "min"]
    for i, x in enumerate(names):
        for j in range(i + 1, len(names)):
            for over in ("best", "mean"):
                expected = table_of_axes(RESULT, [names[j], x], over=over)
                actual = found["tables"][f"{i},{j},train_loss,{over}"]
                assert actual == short(expected.value.tolist())
            share = found["tables"][f"{i},{j},share of trials diverged,best"]
            assert share == short(expected.diverged.tolist())


def test_a_heatmap_by_hand():
    here = FRAME[(FRAME["batch_size"] == 64) & (FRAME["lr"] == 0.1)]
    best = here.groupby("optimizer", observed=True)["train_loss"].mean().min()
    found = charts.heatmaps(RESULT)["tables"]["0,1,train_loss,best"]
    assert found[BATCHES.index(64)][LRS.index(0.1)] == float(f"{best:.4g}")


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("table", ["best", "configurations"])
@pytest.mark.parametrize("draw", range(3))
def test_the_ring_is_on_the_first_of_equally_good_ones(draw, table, mode):
    """And not where four digits are the same."""
    rng = np.random.default_rng(draw)
    grid = {"a": 4, "b": 3, "c": 2, "seed": 2 if table == "configurations" else 1}
    codes = rng.permutation(np.indices(grid.values()).reshape(4, -1), axis=1)
    loss = np.round(1.0 + 1e-6 * (codes[:3].sum(axis=0) % 3), 6)
    columns = dict(zip(grid, codes + 1), state=np.full(codes.shape[1], COMPLETE), loss=loss)
    result = of(columns, mode)
    header, rows = {name: rest for name, *_, rest in facts.best(result)}[table]
    first = [dict(zip(header, rows[0]))[name] for name in "abc"]
    found = charts.heatmaps(result)
    axes = {axis["name"]: (k, axis["labels"]) for k, axis in enumerate(found["axes"])}
    for x, y in itertools.combinations(sorted(set("abc"), key=lambda name: axes[name][0]), 2):
        (i, xs), (j, ys) = axes[x], axes[y]
        row, column = found["best"][f"{i},{j},loss,best"]
        assert [xs[column], ys[row]] == [first["abc".index(name)] for name in (x, y)]
        assert table_of_axes(result, [y, x]).best == (row, column)


def test_sensitivity_is_that_of_the_picture():
    found = charts.sensitivity(RESULT)["axes"]["lr"]
    ax = RESULT.plot.sensitivity("lr", by="optimizer")
    assert [line["name"] for line in found["lines"]] == ["sgd", "adam"]
    for line, drawn_line in zip(found["lines"], ax.get_lines()):
        known = [v for v in line["middle"] if v is not None]
        np.testing.assert_allclose(known, drawn_line.get_ydata(), rtol=1e-3)
    assert (found["x"], found["log"], found["by"]) == (LRS, True, "optimizer")


def test_parallel_coordinates_hold_the_best_and_a_sample():
    n = 5000
    loss = np.random.default_rng(0).permutation(n).astype(float)
    state = np.where(loss >= 4000, DIVERGED, COMPLETE)
    found = charts.parallel(of({"a": np.arange(n) % 7, "state": state, "loss": loss}))
    score = [v for v in found["score"] if v is not None]
    assert score[:100] == list(range(100))
    assert len(score) == 400
    assert max(score) == 3999
    assert found["rank"][:100] == list(range(100))
    assert found["rank"].count(-1) == 60
    assert found["ranked"] == 4000


def test_curves_and_importance():
    found = charts.learning(RESULT)["charts"]["train_loss"]
    median = RESULT.curves().groupby("step")["train_loss"].median()
    np.testing.assert_allclose(found["band"]["middle"], median, rtol=1e-3)
    assert len(found["lines"]) == 5
    small = of(
        {
            "a": np.array([0, 0, 1, 1]),
            "b": np.array([0, 1, 0, 1]),
            "state": np.zeros(4, int),
            "loss": np.array([-3.0, 1.0, -1.0, 3.0]),
        }
    )
    assert charts.importance(small)["effect"][:2] == ["b", "a"]
    assert charts.importance(small)["share"][:2] == [0.8, 0.2]


def test_many_axes_of_many_values_stay_small(tmp_path):
    result = drawn()
    found = charts.heatmaps(result)
    numbers = sum(len(t) * len(t[0]) for t in found["tables"].values())
    assert len(found["axes"]) == 8
    assert numbers <= charts.MOST_NUMBERS
    assert result.report(tmp_path / "r.html").stat().st_size < 6e6
    assert "full grid" in charts.importance(result)["why"]


def test_the_best_configurations_are_those_of_which_every_seed_finished():
    header, rows = {name: table for name, *_, table in facts.best(RESULT)}["configurations"]
    assert header == ["optimizer", "lr", "batch_size", "seeds", "mean", "standard deviation",
                      "smallest", "largest"]  # fmt: skip
    by = FRAME.groupby(["optimizer", "lr", "batch_size"], observed=True)
    loss = by["train_loss"].agg(["count", "mean", "std", "min", "max"])
    loss = loss[loss["count"] == by.size()].sort_values("mean", kind="stable").reset_index()
    assert len(rows) == min(10, len(loss))
    for row, expected in zip(rows, loss.itertuples(index=False)):
        assert row[:3] == [expected.optimizer, f"{expected.lr:g}", str(expected.batch_size)]
        assert [float(cell) for cell in row[3:]] == pytest.approx(list(expected[3:]), rel=1e-3)
    one = {k: a[RESULT.columns["seed"] == 0] for k, a in RESULT.columns.items()}
    alone = SweepResult(one, None, "train_loss", "min", {})
    assert [name for name, *_ in facts.best(alone)] == ["best"]


def said(result):
    return {remark["head"]: remark["text"] for remark in facts.diagnosis(result)}


def test_diagnosis_of_the_divergence_boundary():
    lrs = np.repeat([0.01, 0.1, 1.0, 10.0], 2)
    state = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    result = of(
        {"lr": lrs, "k": np.arange(8) % 2, "state": state, "loss": np.where(state, NAN, lrs)}
    )
    text = said(result)["62.5 % of the trials diverged"]
    assert text == "first at lr = 0.1, all from lr = 1 on."


def test_diagnosis_by_optimizer():
    text = said(RESULT)[next(head for head in said(RESULT) if "diverged" in head)]
    for part, name in zip(text.split("; "), ("sgd", "adam")):
        here = FRAME[(FRAME["optimizer"] == name) & (FRAME["state"] != "FAILED")]
        share = here.groupby("lr")["state"].agg(lambda s: (s == "DIVERGED").mean())
        first = share[share > 0].index[0]
        assert f"{name}: " in part
        begins = "all from" if share[first] == 1.0 else "first at"
        assert f"{begins} lr = {first:g}" in part


def test_diagnosis_of_edges_and_seeds():
    seeds = np.tile([0, 1, 2], 3)
    lrs = np.repeat([0.1, 0.2, 0.3], 3)
    loss = np.array([3.0, 3.1, 3.2, 2.0, 2.1, 2.2, 1.0, 2.0, 3.0])
    columns = {"lr": lrs, "seed": seeds, "state": np.zeros(9, int), "loss": loss}
    found = said(of(columns))
    assert "lr = 0.3, the largest of its axis" in found["At the edge of the grid"]
    # The mean is 2 with a standard deviation of 1: that of lr = 0.2, 2.1, lies within it.
    assert (
        "a mean loss of 2, and its seeds a standard deviation of 1"
        in found["The best is not alone"]
    )
    assert found["Nothing diverged"] == "All of 9 trials stayed finite."
    columns["state"] = np.array([0] * 8 + [1])
    columns["loss"] = np.where(columns["state"] == 1, NAN, loss)
    found = said(of(columns))
    assert found["Seeds that disagree"].startswith("In 1 of 3 configurations some seeds")
    assert "lr = 0.3" in found["Seeds that disagree"]


def test_an_edge_is_of_the_configuration_that_is_best_in_the_mean():
    """A lucky seed inside of the grid hides that the best mean lies at its end."""
    loss = np.array([9.0, 9.0, 9.0, 0.5, 5.0, 5.0, 1.0, 2.0, 3.0])
    lrs, seeds = np.repeat([0.1, 0.2, 0.3], 3), np.tile([0, 1, 2], 3)
    result = of({"lr": lrs, "seed": seeds, "state": np.zeros(9, int), "loss": loss})
    assert result.best(1)[["lr", "seed"]].to_numpy().tolist() == [[0.2, 0]]
    assert result.best_params_ == {"lr": 0.3}
    remark = said(result)["At the edge of the grid"]
    assert remark.startswith("The best configuration has lr = 0.3, the largest of its axis")
    result = of({"lr": lrs, "seed": seeds, "state": np.zeros(9, int), "loss": loss[::-1]})
    assert "Not at the edge of the grid" not in said(result)
    middle = np.roll(loss, -3)
    result = of({"lr": lrs, "seed": seeds, "state": np.zeros(9, int), "loss": middle})
    assert "Not at the edge of the grid" in said(result)


def test_curves_of_the_metric_that_ranks_come_first():
    columns = {"lr": np.array([0.1, 0.2]), "state": np.zeros(2, int), "loss": np.ones(2)}
    names = [f"m{k}" for k in range(8)]
    curves = {"trial_id": np.arange(2), "step": np.array([[0.0, 1.0]] * 2)}
    curves |= {name: np.ones((2, 2)) for name in [*names, "loss"]}
    result = SweepResult({"trial_id": np.arange(2), **columns}, curves, "loss", "min", {})
    assert list(charts.learning(result)["charts"]) == ["loss", *names[:4]]


def test_diagnosis_without_a_best_trial():
    columns = {"lr": np.array([1.0, 2.0]), "state": np.ones(2, int), "loss": np.full(2, NAN)}
    assert [*said(of(columns))] == ["No best trial"]


ODD = {
    "nothing finished": of({"lr": np.zeros(0), "state": np.zeros(0, int), "loss": np.zeros(0)}),
    "all diverged": of(
        {"lr": np.array([1.0, 2.0]), "state": np.ones(2, int), "loss": np.full(2, NAN)}
    ),
    "one trial": of({"lr": np.ones(1), "state": np.zeros(1, int), "loss": np.ones(1)}),
    "no axes": of({"state": np.zeros(1, int), "loss": np.ones(1)}),
    "gaps": of(
        {
            "a": np.array([1, None, 2], object),
            "b": np.array([NAN, 0.1, 0.2]),
            "state": np.zeros(3, int),
            "loss": np.ones(3),
        }
    ),
    "infinite": of(
        {
            "a": np.arange(3),
            "b": np.arange(3),
            "state": np.zeros(3, int),
            "loss": np.array([np.inf, 1.0, 1e300]),
        }
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_results_have_reports_too(name, tmp_path):
    page = ODD[name].report(tmp_path / "r.html", title=name).read_text()
    assert f"<h1>{name}</h1>" in page
    held(page)


def test_a_page_says_where_it_comes_from(tmp_path):
    page = html.unescape(RESULT.report(tmp_path / "r.html").read_text())
    for text in ("Space(48 trials", "(0.001, 0.01, 0.1, 1.0)", f">{np.__version__}<", "Python"):
        assert text in page


def test_equal_results_make_equal_reports(tmp_path):
    pages = [made().report(tmp_path / f"{k}.html").read_bytes() for k in range(2)]
    assert pages[0] == pages[1]


def test_nothing_is_fetched_from_anywhere(tmp_path):
    page = RESULT.report(tmp_path / "r.html").read_text()
    rest = re.sub(r'id="packed-\w+">[^<]*<', "", page)
    assert "default-src 'none'" in rest
    assert not re.findall(r"https?:|//[a-z]+\.|@import|url\(|<link", rest)


def test_a_failed_report_leaves_the_old_one(tmp_path, monkeypatch):
    path = RESULT.report(tmp_path / "r.html")
    before = path.read_bytes()

    def full(target, text, **options):
        target.write_bytes(b"half a")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        RESULT.report(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


@pytest.mark.parametrize("name", ["plotly.offline", "jinja2"])
def test_what_is_missing_is_named(name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "fastopt\[report\]"'):
        RESULT.report(tmp_path / "r.html")
    assert not [*tmp_path.iterdir()]


# --- notebooks -----------------------------------------------------------------------------------


def test_notebooks_show_a_table_and_a_heatmap():
    from PIL import Image

    shown = RESULT._repr_html_()
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    assert 'alt="train_loss over lr and batch_size"' in shown
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    assert len(shown) < 60_000
    assert shown.count("<tr") == 11
    from matplotlib import pyplot

    assert not pyplot.get_fignums()


# --- in a browser --------------------------------------------------------------------------------


needs_browser = pytest.mark.skipif(bool(browser.MISSING), reason=browser.MISSING)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with browser.chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def digits():
    """Return the sweep of digits that the README shows, with fewer trials."""
    return sweep(
        problems.digits(hidden=(16,)),
        {
            "optimizer": ["momentum", "adam"],
            "lr": logspace(1e-3, 10, 5),
            "batch_size": [32, 128],
            "seed": range(2),
        },
        epochs=2,
        target=0.9,
        metric="test_accuracy",
        mode="max",
        curves=True,
        progress=False,
    )


def opened(driver, path, width=1280):
    """Open a report, wait until it is drawn, and see that the browser had nothing to say."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.resize(driver, width)
    driver.get(path.as_uri())
    ready = "return document.body.dataset.ready"
    WebDriverWait(driver, 120).until(lambda d: d.execute_script(ready))
    _quiet(driver)


def _quiet(driver):
    """Check that the browser had no error to report; other versions may have advice."""
    assert [said for said in driver.get_log("browser") if said["level"] == "SEVERE"] == []


def cells(driver):
    return driver.execute_script("return document.getElementById('heatmap-chart').data[2].z")


def choose(driver, name, value):
    from selenium.webdriver.support.ui import Select

    Select(driver.find_element("id", f"heatmap-{name}")).select_by_visible_text(value)


@needs_browser
def test_the_report_of_digits_in_chromium(driver, digits, tmp_path):
    path = digits.report(tmp_path / "digits.html")
    assert path.stat().st_size < 6e6
    opened(driver, path)
    drawn_charts = driver.execute_script(
        "return [...document.querySelectorAll('.chart')].map((c) => [c.id, c.data.length, "
        "c.querySelectorAll('.main-svg').length, c.getBoundingClientRect().height])"
    )
    names = ["heatmap", "calibration", "sensitivity", "importance", "parallel", "learning"]
    assert [name for name, *_ in drawn_charts] == [f"{name}-chart" for name in names]
    assert all(traces and svgs and height >= 300 for _, traces, svgs, height in drawn_charts)
    rows = driver.find_elements("css selector", "#best tbody tr")
    assert len(rows) == 15
    assert rows[0].text.split()[0] == str(digits.best()["trial_id"][0])
    assert driver.find_elements("css selector", "#provenance tr")
    assert len(driver.find_elements("css selector", "#diagnosis .remark")) >= 3

    _fits(driver, 1280)
    _sides_have_numbers(driver)
    _selectors_change_the_heatmap(driver, digits)
    _dark_windows_have_dark_pages(driver)
    for name in ("sensitivity-axis", "parallel-share", "learning-metric"):
        _every_choice_draws(driver, name)
    _quiet(driver)


def _selectors_change_the_heatmap(driver, result):
    def expected(x, y, **options):
        return [
            v for row in short(table_of_axes(result, [y, x], **options).value.tolist()) for v in row
        ]

    def actual():
        return [v for row in cells(driver) for v in row]

    def ring():
        found = (
            "const r = document.getElementById('heatmap-chart').data[3]; return [r.x[0], r.y[0]]"
        )
        return driver.execute_script(found)

    def best(x, y, **options):
        found = table_of_axes(result, [y, x], **options)
        return [axis.labels[k] for axis, k in zip(found.axes, found.best)][::-1]

    assert actual() == pytest.approx(expected("lr", "batch_size"))
    norm, _ = colour_norm(table_of_axes(result, ["batch_size", "lr"]).value, result.mode)
    drawn_ends = (
        "const c = document.getElementById('heatmap-chart').data[2]; return [c.zmin, c.zmax]"
    )
    ends = [norm.vmin, norm.vmax]
    if type(norm).__name__ == "LogNorm":
        ends = [math.log10(v) for v in ends]
    assert driver.execute_script(drawn_ends) == pytest.approx(ends, rel=2e-3)
    assert ring() == best("lr", "batch_size")
    choose(driver, "y", "optimizer")
    assert actual() == pytest.approx(expected("lr", "optimizer"))
    choose(driver, "over", "mean")
    assert actual() == pytest.approx(expected("lr", "optimizer", over="mean"))
    choose(driver, "x", "optimizer")  # the same axis twice means: exchange them
    assert actual() == pytest.approx(expected("optimizer", "lr", over="mean"))
    assert ring() == best("optimizer", "lr", over="mean")
    title = "return document.getElementById('heatmap-chart').layout.yaxis.title.text"
    assert driver.execute_script(title) == "lr"
    choose(driver, "metric", "share of trials diverged")
    shares = table_of_axes(result, ["lr", "optimizer"]).diverged
    assert actual() == pytest.approx([v for row in short(shares.tolist()) for v in row])


def _sides_have_numbers(driver):
    """Check that axes which choose their ticks by their scale have three or more."""
    for chart, side in (("sensitivity", "x"), ("sensitivity", "y"), ("learning", "y")):
        ticks = f"#{chart}-chart .{side}tick text"
        assert len([t for t in driver.find_elements("css selector", ticks) if t.text]) >= 3, ticks


def _every_choice_draws(driver, name):
    from selenium.webdriver.support.ui import Select

    chart = f"return document.getElementById('{name.split('-')[0]}-chart').data"
    seen = []
    for option in [o.text for o in Select(driver.find_element("id", name)).options]:
        Select(driver.find_element("id", name)).select_by_visible_text(option)
        seen.append(json.dumps(driver.execute_script(chart)))
    assert len({*seen}) == len(seen)


def _fits(driver, width):
    """Check that nothing is wider than the window, and that the page as a picture is not blank."""
    from PIL import Image

    box = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert box[0] <= box[1] == width
    with Image.open(io.BytesIO(browser.picture(driver))) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape[1] == width
    assert 0.02 < (pixels < 200).mean() < 0.6


def _dark_windows_have_dark_pages(driver):
    colours = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        ground = "return getComputedStyle(document.body).backgroundColor"
        colours.append(driver.execute_script(ground))
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert colours == ["rgb(255, 255, 255)", "rgb(18, 22, 27)"]


@needs_browser
def test_the_report_of_digits_on_a_phone(driver, digits, tmp_path):
    opened(driver, digits.report(tmp_path / "digits.html"), 400)
    _fits(driver, 400)


@needs_browser
def test_names_are_text_and_never_run(driver, tmp_path):
    rng = np.random.default_rng(0)
    columns = {
        EVIL: np.array([EVIL, "<b>x</b>"] * 4, object),
        "lr": np.repeat([0.1, 1.0], 4),
        "state": np.zeros(8, int),
        "loss": rng.random(8),
    }
    ids = np.arange(8)
    recorded = {"trial_id": ids, "step": np.array([[0.0, 1.0]] * 8), EVIL: rng.random((8, 2))}
    result = SweepResult({"trial_id": ids, **columns}, recorded, "loss", "min", {"problem": EVIL})
    opened(driver, result.report(tmp_path / "r.html"))
    assert driver.title == EVIL
    assert not driver.find_elements("css selector", "img, main b")
    assert driver.find_element("css selector", "h1").text == EVIL


@needs_browser
@pytest.mark.parametrize("values", [[21.06, 21.3, 167.0, 22.7, 21.3, 266.0], [5.0, 5.2, 80.0] * 2])
@pytest.mark.parametrize("axis", ["l2", "fold"])
def test_a_scale_of_few_numbers_has_marks_and_a_ring_that_is_not_drawn_no_legend(
    driver, values, axis, tmp_path
):
    """Its ends come after it is known to be logarithmic, and may have no 1, 2 or 5 between them."""
    columns = {"lr": np.repeat([0.1, 1.0, 10.0], 2), axis: np.tile([0, 1], 3)}
    result = of({**columns, "state": np.zeros(6, int), "loss": np.array(values)})
    opened(driver, result.report(tmp_path / "r.html"))
    low, high, bar, traces = driver.execute_script(
        "const d = document.getElementById('heatmap-chart').data;"
        "return [d[2].zmin, d[2].zmax, d[2].colorbar, d.length]"
    )
    assert len(bar["tickvals"]) >= 2
    assert low <= bar["tickvals"][0] < bar["tickvals"][-1] <= high
    np.testing.assert_allclose(np.log10([float(t) for t in bar["ticktext"]]), bar["tickvals"])
    assert traces == 3 + 2 * (axis != "fold")
    assert driver.find_element("id", "heatmap-best").is_displayed() == (axis != "fold")


@needs_browser
@pytest.mark.parametrize("name", ["nothing finished", "gaps", "infinite"])
def test_odd_reports_open(driver, name, tmp_path):
    opened(driver, ODD[name].report(tmp_path / "r.html", title=name))
