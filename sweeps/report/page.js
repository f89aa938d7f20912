"use strict";
// The charts of a report. Their numbers are counted beforehand; here they are only drawn.
(async () => {
  const unpack = async (id) => {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  const library = document.createElement("script");
  library.textContent = await unpack("packed-plotly");
  document.head.append(library);
  const data = JSON.parse(await unpack("packed-data"));

  const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8C6D31", "#B8A800",
    "#5E4FA2", "#3288BD", "#66A61E", "#A6761D", "#999999"];
  const DIVERGED = "#D55E00";
  const VIRIDIS = ["#440154", "#482878", "#3E4989", "#31688E", "#26828E", "#1F9E89", "#35B779",
    "#6DCD59", "#B4DE2C", "#FDE725"];
  const by = (id) => document.getElementById(id);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Plotly reads <b>, <a href=...> and the like in its texts, and names may hold anything.
  const safe = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const narrow = () => window.innerWidth < 600;
  const show = (number) => (number === null ? "none" : String(Number(number.toPrecision(4))));

  const draw = (id, traces, layout) => {
    const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true };
    const whole = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 50, r: 12, t: 12, b: 44 },
      font: { color: css("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
      hoverlabel: { bgcolor: css("--raised"), bordercolor: css("--line"), font: { color: css("--ink") } },
      ...layout,
    };
    for (const side of ["xaxis", "yaxis"]) whole[side] = { ...axis, ...whole[side] };
    return Plotly.react(by(id), traces, whole, { responsive: true, displaylogo: false, displayModeBar: false });
  };
  const fill = (id, names, chosen) => {
    by(id).replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
  };

  // --- any two axes -----------------------------------------------------------------------------
  const heat = data.heatmaps;
  const names = heat ? heat.axes.map((axis) => axis.name) : [];
  const turned = (table) => table[0].map((_, j) => table.map((row) => row[j]));
  const isTurned = (x, y) => names.indexOf(x) > names.indexOf(y);
  const keyOf = (x, y, metric, over) => `${[names.indexOf(x), names.indexOf(y)].sort((a, b) => a - b)},${metric},${over}`;
  const lookUp = (x, y, metric, over) => {
    const table = heat.tables[keyOf(x, y, metric, over)];
    return isTurned(x, y) ? turned(table) : table;
  };
  const scaleOf = (values) => {
    const known = values.flat().filter((v) => v !== null);
    if (!known.length) return { log: false, low: 0, high: 1 };
    const [low, high] = [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))];
    return { log: low > 0 && high >= 10 * low, low, high };
  };
  // Colours end three times as far from the best cell as the median one: colour_norm of the pictures.
  const colourScale = (values, good) => {
    const { log, low, high } = scaleOf(values);
    const known = values.flat().filter((v) => v !== null).map((v) => (log ? Math.log(v) : v)).sort((a, b) => a - b);
    if (!known.length) return { log, low, high, beyond: false };
    const middle = 0.5 * (known[Math.floor((known.length - 1) / 2)] + known[Math.ceil((known.length - 1) / 2)]);
    const [least, most] = [known[0], known[known.length - 1]];
    const reach = 3 * (good === "max" ? most - middle : middle - least);
    if (!(reach > 0 && reach < most - least)) return { log, low, high, beyond: false };
    const end = good === "max" ? most - reach : least + reach;
    const value = log ? Math.exp(end) : end;
    return { log, low: good === "max" ? value : low, high: good === "max" ? high : value, beyond: true };
  };
  // 0.01, 0.02, 0.05, ... on a log scale of few decades; plotly would write 2, 5, 0.1, 2, 5. Where
  // fewer than two of them are within the range, 21 to 29 say: 22, 24, 26, 28.
  const marks = (low, high) => {
    const shown = [];
    const every = Math.max(1, Math.ceil(Math.log10(high / low) / 10));
    for (let k = Math.floor(Math.log10(low)); k <= Math.log10(high); k += every) {
      for (const m of high > 1e3 * low ? [1] : [1, 2, 5]) {
        const v = Number((m * 10 ** k).toPrecision(3));
        if (v >= 0.999 * low && v <= 1.001 * high) shown.push(v);
      }
    }
    if (shown.length > 1 || !(high > low)) return shown;
    const unit = 10 ** Math.floor(Math.log10((high - low) / 2));
    const step = unit * [5, 2, 1].find((m) => m * unit <= (high - low) / 2);
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(6)));
  };
  const ticks = (scale) => {
    if (!scale.log) return {};
    const shown = marks(scale.low, scale.high);
    return { tickvals: shown.map(Math.log10), ticktext: shown.map(String) };
  };
  // Of more labels than there is room for: the round numbers among them, or evenly spaced ones.
  const some = (labels, most) => {
    const places = [...labels.keys()];
    if (labels.length <= most) return places;
    const round = places.filter((k) => /^(0\.0*)?[1-9]0*(e[+-]?\d+)?$/.test(labels[k]));
    const even = round.every((k, i) => i < 2 || k - round[i - 1] === round[1] - round[0]);
    if (round.length >= 3 && round.length <= most && even) return round;
    const every = Math.ceil(labels.length / most);
    return places.filter((k) => k % every === 0);
  };
  const logAxis = (values) => {
    const { low, high } = scaleOf([values.filter((v) => v > 0)]);
    const shown = marks(low / 2, 2 * high);
    return { type: "log", tickvals: shown, ticktext: shown.map(String) };
  };
  const heatmap = () => {
    const [x, y, metric] = ["x", "y", "metric"].map((name) => by(`heatmap-${name}`).value);
    const share = metric === heat.share;
    const over = share ? heat.over[0] : by("heatmap-over").value;
    by("heatmap-over").disabled = share;
    const values = lookUp(x, y, metric, over);
    const lost = lookUp(x, y, heat.share, heat.over[0]);
    const [xs, ys] = [x, y].map((name) => heat.axes[names.indexOf(name)].labels.map(safe));
    const good = share ? "min" : heat.metrics.find((m) => m.name === metric).mode;
    const scale = share ? { log: false, low: 0, high: 1, beyond: false } : colourScale(values, good);
    by("heatmap-beyond").hidden = !scale.beyond;
    const z = values.map((row) => row.map((v) => (v === null ? null : scale.log ? Math.log10(v) : v)));
    const text = values.map((row, i) => row.map((v, j) =>
      `${safe(x)} = ${xs[j]}<br>${safe(y)} = ${ys[i]}<br>${safe(metric)}: ${show(v)}` +
      (lost[i][j] === null ? "" : `<br>diverged: ${Math.round(100 * lost[i][j])} %`)));
    const colours = VIRIDIS.map((colour, k) => [k / (VIRIDIS.length - 1), colour]);
    const one = (colour) => [[0, colour], [1, colour]];
    const cell = { type: "heatmap", x: xs, y: ys, text, hoverinfo: "text", xgap: 1, ygap: 1 };
    const flags = (test) => values.map((row, i) => row.map((v, j) => (test(v, lost[i][j]) ? 1 : null)));
    const traces = [
      { ...cell, z: flags((v, d) => v === null && !(d > 0)), colorscale: one(css("--nothing")), showscale: false },
      { ...cell, z: flags((v, d) => v === null && d > 0), colorscale: one(DIVERGED), showscale: false },
      { ...cell, z, colorscale: share ? [[0, "#0072B2"], [0.5, "#F7F7F7"], [1, DIVERGED]] : colours,
        reversescale: !share && good === "min",
        zmin: scale.log ? Math.log10(scale.low) : scale.low, zmax: scale.log ? Math.log10(scale.high) : scale.high,
        colorbar: { title: { text: narrow() ? "" : safe(share ? metric : `${over} ${metric}`), side: "right" },
          thickness: 14, outlinewidth: 0, ...ticks(scale) } },
    ];
    const best = share ? null : heat.best[keyOf(x, y, metric, over)];
    by("heatmap-best").hidden = !best;
    if (best) {
      const [i, j] = isTurned(x, y) ? [best[1], best[0]] : best;
      traces.push({ type: "scatter", mode: "markers", x: [xs[j]], y: [ys[i]], hoverinfo: "skip", showlegend: false,
        marker: { size: 15, color: "rgba(0,0,0,0)", line: { width: 3, color: "#000000" } } });
      traces.push({ type: "scatter", mode: "markers", x: [xs[j]], y: [ys[i]], hoverinfo: "skip", showlegend: false,
        marker: { size: 15, color: "rgba(0,0,0,0)", line: { width: 1.5, color: "#FFFFFF" } } });
    }
    const side = (name, labels, most) => ({ type: "category", title: { text: safe(name) }, categoryarray: labels,
      categoryorder: "array", showgrid: false, tickvals: some(labels, most) });
    return draw("heatmap-chart", traces, { xaxis: side(x, xs, narrow() ? 6 : 14), yaxis: side(y, ys, 14) });
  };
  if (heat) {
    const metrics = [...heat.metrics.map((m) => m.name), heat.share];
    fill("heatmap-x", names, names[0]);
    fill("heatmap-y", names, names[1]);
    fill("heatmap-metric", metrics, metrics[0]);
    fill("heatmap-over", heat.over, heat.over[0]);
    const last = { x: names[0], y: names[1] };
    for (const [side, other] of [["x", "y"], ["y", "x"]]) {
      by(`heatmap-${side}`).addEventListener("change", () => {
        // The same axis twice means: exchange them.
        if (by("heatmap-x").value === by("heatmap-y").value) by(`heatmap-${other}`).value = last[side];
        for (const name of ["x", "y"]) last[name] = by(`heatmap-${name}`).value;
        heatmap();
      });
    }
    for (const name of ["metric", "over"]) by(`heatmap-${name}`).addEventListener("change", heatmap);
  }

  // --- sensitivity, importance ------------------------------------------------------------------
  const faded = (colour, alpha) => colour + Math.round(255 * alpha).toString(16).padStart(2, "0");
  const lineAndBand = (x, line, colour, name, legend) => {
    const kept = x.map((_, k) => k).filter((k) => line.middle[k] !== null);
    const take = (a) => kept.map((k) => a[k]);
    const [xs, low, high] = [take(x), take(line.low), take(line.high)];
    return [
      { x: [...xs, ...[...xs].reverse()], y: [...high, ...[...low].reverse()], type: "scatter", fill: "toself",
        mode: "lines", line: { width: 0 }, fillcolor: faded(colour, 0.2), hoverinfo: "skip", showlegend: false },
      { x: xs, y: take(line.middle), type: "scatter", mode: xs.length > 40 ? "lines" : "lines+markers",
        line: { color: colour, width: 2 }, name: safe(name), showlegend: legend },
    ];
  };
  const sensitivity = () => {
    const name = by("sensitivity-axis").value;
    const axis = data.sensitivity.axes[name];
    const x = axis.numeric ? axis.x : axis.x.map(safe);
    const traces = axis.lines.flatMap((line, k) =>
      lineAndBand(x, line, COLOURS[k % COLOURS.length], line.name, axis.lines.length > 1));
    if (axis.lost.length) {
      traces.push({ x: axis.lost.map((k) => x[k]), y: axis.lost.map(() => 0.98), yaxis: "y2", type: "scatter",
        mode: "markers", marker: { symbol: "x", color: DIVERGED, size: 9 }, name: "all diverged" });
    }
    const few = axis.numeric && x.length <= 9 ? { tickvals: x, ticktext: x.map(String) } : {};
    return draw("sensitivity-chart", traces, {
      xaxis: { ...(axis.log ? logAxis(x) : { type: axis.numeric ? "linear" : "category" }), title: { text: safe(name) }, ...few },
      yaxis: { ...(axis.wide ? logAxis(axis.lines.flatMap((line) => line.middle)) : {}), title: { text: safe(data.metric) } },
      yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, margin: { l: 56, r: 12, t: 30, b: 44 },
    });
  };
  if (data.sensitivity) {
    fill("sensitivity-axis", Object.keys(data.sensitivity.axes), names[0]);
    by("sensitivity-axis").addEventListener("change", sensitivity);
  }
  const importance = () => {
    const found = data.importance;
    const colours = { 1: COLOURS[0], 2: COLOURS[1], 3: "#8A8A8A" };
    return draw("importance-chart", [{
      type: "bar", orientation: "h", x: found.share, y: found.effect.map(safe), hoverinfo: "x+y", cliponaxis: false,
      text: found.share.map((s) => (s < 0.001 ? "< 0.1 %" : `${(100 * s).toFixed(1)} %`)), textposition: "outside",
      marker: { color: found.order.map((order) => colours[order]) },
    }], {
      yaxis: { autorange: "reversed", type: "category", ticksuffix: " ", showgrid: false }, margin: { l: 40, r: 46, t: 12, b: 44 },
      xaxis: { title: { text: "share of the variance" }, rangemode: "tozero" },
    });
  };

  // --- parallel coordinates ---------------------------------------------------------------------
  const SHARES = { "all": 1, "the better half": 0.5, "the best tenth": 0.1, "the best hundredth": 0.01 };
  const parallel = () => {
    const { axes, rank, ranked } = data.parallel;
    const upTo = SHARES[by("parallel-share").value];
    const height = (axis, k) => (axis.codes[k] < 0 ? null : axis.labels.length < 2 ? 0.5 : axis.codes[k] / (axis.labels.length - 1));
    const quality = (k) => (rank[k] < 0 ? -1 : 1 - rank[k] / Math.max(1, ranked - 1));
    const bins = VIRIDIS.length;
    const lines = Array.from({ length: bins + 1 }, () => ({ x: [], y: [] }));
    rank.forEach((r, k) => {
      if (r < 0 ? upTo < 1 : r > upTo * Math.max(1, ranked - 1)) return;
      const q = quality(k);
      const line = lines[q < 0 ? 0 : 1 + Math.min(bins - 1, Math.floor((q * bins)))];
      // Trials of one value would hide each other: a little up or down, the same each time.
      const shift = 0.012 * (((k * 0.618034) % 1) - 0.5) * 2;
      axes.forEach((axis, i) => { line.x.push(i); line.y.push(height(axis, k) === null ? null : height(axis, k) + shift); });
      line.x.push(axes.length, null);
      line.y.push(q < 0 ? -0.08 : q, null);
    });
    const colours = [DIVERGED, ...VIRIDIS];
    const traces = lines.map((line, k) => ({ ...line, type: "scatter", mode: "lines", hoverinfo: "skip",
      line: { color: colours[k], width: 1 }, opacity: k === bins ? 0.55 : 0.4 }));
    const best = rank.indexOf(0);
    if (best >= 0) {
      traces.push({ x: [...axes.keys(), axes.length], y: [...axes.map((axis) => height(axis, best)), 1], type: "scatter",
        mode: "lines+markers", hoverinfo: "skip", line: { color: css("--ink"), width: 2.5 }, marker: { size: 6 } });
    }
    const last = axes.length;
    const notes = axes.flatMap((axis, i) => {
      return some(axis.labels, narrow() ? 6 : 10).map((k) => ({
        x: i, y: axis.labels.length < 2 ? 0.5 : k / (axis.labels.length - 1), text: safe(axis.labels[k]), xanchor: "left", xshift: 3,
      }));
    });
    notes.push(...[[1, "best"], [0.5, "median"], [0, "worst"]].map(([y, text]) => ({ x: last, y, text, xanchor: "right", xshift: -3 })));
    const shapes = Array.from({ length: last + 1 }, (_, i) => ({ type: "line", x0: i, x1: i, y0: 0, y1: 1, line: { color: css("--muted"), width: 1.5 } }));
    return draw("parallel-chart", traces, {
      showlegend: false, shapes, margin: { l: 20, r: 30, t: 8, b: narrow() ? 64 : 30 },
      annotations: notes.map((note) => ({ ...note, showarrow: false, bgcolor: css("--ground"), borderpad: 1, font: { size: 10 }, opacity: 0.9 })),
      xaxis: { tickvals: [...axes.keys(), last], ticktext: [...axes.map((axis) => safe(axis.name)), "rank"], showgrid: false,
        zeroline: false, range: [-0.08, last + 0.08], tickangle: narrow() ? 40 : 0, fixedrange: true },
      yaxis: { visible: false, range: [-0.12, 1.05], fixedrange: true },
    });
  };
  if (data.parallel) {
    fill("parallel-share", Object.keys(SHARES), "all");
    by("parallel-share").addEventListener("change", parallel);
  }

  // --- learning curves --------------------------------------------------------------------------
  const learning = () => {
    const chart = data.learning.charts[by("learning-metric").value];
    const band = lineAndBand(chart.band.step, chart.band, "#767676", "median of all", true);
    band[1] = { ...band[1], mode: "lines", line: { color: "#8A8A8A", width: 2, dash: "dash" } };
    const lines = chart.lines.map((line, k) => ({ x: line.step, y: line.value, type: "scatter", mode: "lines",
      name: safe(line.name), line: { color: COLOURS[k], width: 2 } }));
    const shown = [...chart.lines.map((line) => line.value), chart.band.middle].filter((value) => value.length);
    const log = chart.log ? logAxis(shown.flat()) : {};
    if (chart.log) {
      // Losses on their way to infinity would press all others into one line.
      const { low, high } = scaleOf([shown.flat().filter((v) => v > 0)]);
      const starts = shown.map((value) => value[0]).sort((a, b) => a - b);
      log.range = [Math.log10(low / 1.3), Math.log10(Math.min(1.3 * high, 10 * starts[Math.floor(starts.length / 2)]))];
    }
    return draw("learning-chart", [...band, ...lines], {
      xaxis: { title: { text: "step" } },
      yaxis: { ...log,
        title: { text: safe(by("learning-metric").value) } },
      legend: narrow() ? { orientation: "h", y: -0.25, yanchor: "top", font: { size: 10 } } : { title: { text: safe(data.learning.axes) } },
    });
  };
  if (data.learning) {
    const metrics = Object.keys(data.learning.charts);
    fill("learning-metric", metrics, metrics.includes(data.metric) ? data.metric : metrics[0]);
    by("learning-metric").addEventListener("change", learning);
  }

  // --- what the best one predicts ---------------------------------------------------------------
  const plain = (points, more) => ({ ...points, type: "scatter", showlegend: false, ...more });
  const calibration = () => {
    const { x, y, n, of } = data.calibration;
    const most = Math.max(...n);
    return draw("calibration-chart", [
      plain({ x: [0, 1], y: [0, 1] }, { mode: "lines", hoverinfo: "skip", line: { color: "#8A8A8A", dash: "dash", width: 1 } }),
      plain({ x, y }, { mode: "lines+markers", line: { color: COLOURS[0] }, text: n.map((rows) => `${rows} rows`),
        hovertemplate: "%{x:.3f} said<br>%{y:.3f} so<br>%{text}<extra></extra>",
        marker: { size: n.map((rows) => 6 + 12 * Math.sqrt(rows / most)) } }),
    ], { xaxis: { title: { text: safe(of) }, range: [-0.03, 1.03] }, yaxis: { title: { text: "share of rows" }, range: [-0.05, 1.05] } });
  };
  const residuals = () => draw("residuals-chart", [
    plain({ x: data.residuals.x, y: data.residuals.y }, { mode: "markers", marker: { color: COLOURS[0], size: 6, opacity: 0.6 },
      hovertemplate: "predicted %{x}<br>off by %{y}<extra></extra>" }),
  ], { xaxis: { title: { text: "predicted" } }, yaxis: { title: { text: "true less predicted" }, zeroline: true, zerolinewidth: 2 } });

  const all = [heat && heatmap, data.sensitivity && sensitivity, data.importance && !data.importance.why && importance,
    data.parallel && parallel, data.learning && learning,
    data.calibration && calibration, data.residuals && residuals].filter(Boolean);
  const redraw = () => Promise.all(all.map((chart) => chart()));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  await redraw();
  document.body.dataset.ready = "true";
})();
