// Plotly figures: a track over time, distributions, dwell times.

const FONT = { family: "system-ui, Segoe UI, Roboto, Helvetica Neue, Arial, Liberation Sans, sans-serif", size: 13 };
const CONFIG = { responsive: true, displaylogo: false,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
const GROUP_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d", "#7b5ea7"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const NAMES = { msd_1: "MSD, 1 frame", k: "K", alpha: "α" };
const UNSCALED = { msd_1: (v) => 10 ** v, k: (v) => 10 ** v, alpha: (v) => v }; // packed as log10, or as it is

function layout(more) {
  return { font: FONT, margin: { l: 68, r: 12, t: 34, b: 48 }, paper_bgcolor: "#fff", plot_bgcolor: "#fff",
    hovermode: "closest", legend: { orientation: "h", x: 0, y: -0.22, yanchor: "top" }, ...more };
}

function axis(title, more) {
  return { title: { text: title, standoff: 6 }, gridcolor: "#eaeef2", zeroline: false, linecolor: "#afb8c1",
    showline: true, ticks: "outside", ticklen: 4, tickcolor: "#afb8c1", ...more };
}

// Makes a logarithmic axis over these values, of at least one decade.
function logAxis(title, values, more) {
  let [low, high] = [Infinity, -Infinity];
  for (const exponent of values.filter((value) => value > 0).map(Math.log10)) {
    [low, high] = [Math.min(low, exponent), Math.max(high, exponent)];
  }
  const [middle, half] = low <= high ? [(low + high) / 2, Math.max(0.5, 0.53 * (high - low))] : [0, 1];
  return axis(title, { type: "log", range: [middle - half, middle + half], tickformat: "~g",
    dtick: half < 1 ? "D2" : Math.ceil(half / 3), ...more });
}

// Escapes text for plotly, which would read names from files as HTML.
function plain(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

// Keeps the end of a long name: paths of files differ there.
function tail(name) {
  return name.length > 32 ? `…${name.slice(-31)}` : name;
}

function translucent(colour, opacity) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${opacity})`;
}

// Draws msd_1, K, alpha and state probabilities of a track over time. `columns` holds an array for each quantity.
function drawTrace(target, columns, segments, data) {
  const { colours, units } = data;
  const traces = [
    ...valueTraces(columns, segments, "msd_1", "y", data),
    ...valueTraces(columns, segments, "k", "y2", data),
    ...valueTraces(columns, segments, "alpha", "y3", data),
    ...data.states.map((state, i) => ({ type: "scatter", x: columns.time, y: columns[`p_${state}`], stackgroup: "p",
      yaxis: "y4", mode: "lines", line: { width: 0 }, fillcolor: colours.state[i], name: state,
      hovertemplate: "%{y:.2f}" })),
  ];
  const { dt } = columns;
  const changes = segments.filter((s) => !s.left_censored).map((s) => (s.frame_start - 0.5) * dt);
  const shapes = changes.map((x) => ({ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper",
    line: { color: colours.change, width: 1, dash: "dash" } }));
  const range = [columns.time[0] - 0.5 * dt, columns.time[columns.time.length - 1] + 0.5 * dt];
  const log = (name, yaxis, domain) => logAxis(`${NAMES[name]}<br>(${units[name]})`,
    withinReach(traces.filter((t) => t.yaxis === yaxis)), { domain });
  Plotly.react(target, traces, layout({ shapes, hovermode: "x", margin: { l: 100, r: 12, t: 34, b: 48 },
    xaxis: axis(data.timeUnit === "s" ? "time (s)" : "frame", { range, anchor: "y4" }),
    yaxis: log("msd_1", "y", [0.76, 1]), yaxis2: log("k", "y2", [0.51, 0.72]),
    yaxis3: axis("α", { range: [-0.03, 2.03], domain: [0.26, 0.47] }),
    yaxis4: axis("probability", { range: [0, 1], domain: [0, 0.22] }),
    legend: { orientation: "h", x: 0, y: -0.1, yanchor: "top", traceorder: "normal" } }), CONFIG);
}

// Lists the values of lines, and those of bands that are at most a decade beyond them.
function withinReach(traces) {
  const values = (some) => some.flatMap((t) => t.y).filter((y) => y > 0);
  const lines = values(traces.filter((t) => !t.fill));
  const [low, high] = [lines.reduce((a, b) => Math.min(a, b), Infinity), lines.reduce((a, b) => Math.max(a, b), 0)];
  const bands = values(traces.filter((t) => t.fill));
  return [...lines, ...bands.map((y) => Math.min(10 * high, Math.max(low / 10, y)))];
}

// Makes the interval band and the values of frames and segments of a quantity; nothing where trapped.
function valueTraces(columns, segments, name, yaxis, data) {
  const colour = data.colours.line[name];
  const common = { type: "scatter", mode: "lines", yaxis, showlegend: false };
  const area = columns[`${name}_lo`] ? band(columns, name, data.breakAt) : segmentBand(columns, segments, name);
  const filled = { ...common, ...area, fill: "toself", line: { width: 0 }, fillcolor: translucent(colour, 0.2),
    hoverinfo: "skip" };
  const values = { ...common, ...broken(columns, name, data.breakAt), line: { color: colour, width: 1.5 },
    hovertemplate: "%{y:.3g} (frame %{customdata})", name: NAMES[name] };
  const steps = { x: [], y: [] };
  for (const s of segments.filter((segment) => !Number.isNaN(segment[name]))) {
    steps.x.push((s.frame_start - 0.5) * columns.dt, (s.frame_end + 0.5) * columns.dt, null);
    steps.y.push(UNSCALED[name](s[name]), UNSCALED[name](s[name]), null);
  }
  const thick = { ...common, ...steps, line: { color: translucent(colour, 0.55), width: 6 }, hoverinfo: "skip" };
  return area.x.length ? [filled, values, thick] : [values, thick];
}

// Finds stretches of frames that have values and no long gaps: [first, last].
function stretches(columns, name, breakAt) {
  const found = [];
  for (let i = 0; i < columns.frame.length; i++) {
    if (Number.isNaN(columns[name][i])) continue;
    const last = found[found.length - 1];
    if (last && last[1] === i - 1 && columns.frame[i] - columns.frame[i - 1] <= breakAt) last[1] = i;
    else found.push([i, i]);
  }
  return found;
}

function broken(columns, name, breakAt) {
  const line = { x: [], y: [], customdata: [] };
  for (const [first, last] of stretches(columns, name, breakAt)) {
    for (let i = first; i <= last; i++) {
      line.x.push(columns.time[i]);
      line.y.push(UNSCALED[name](columns[name][i]));
      line.customdata.push(columns.frame[i]);
    }
    for (const values of Object.values(line)) values.push(null);
  }
  // plotly draws no axis for a trace without points
  return line.x.length ? line : { x: [columns.time[0]], y: [null], customdata: [null] };
}

// Makes the outline of the intervals of frames.
function band(columns, name, breakAt) {
  const area = { x: [], y: [] };
  for (const [first, last] of stretches(columns, name, breakAt)) {
    for (let i = first; i <= last; i++) {
      area.x.push(columns.time[i]);
      area.y.push(UNSCALED[name](columns[`${name}_hi`][i]));
    }
    for (let i = last; i >= first; i--) {
      area.x.push(columns.time[i]);
      area.y.push(UNSCALED[name](columns[`${name}_lo`][i]));
    }
    area.x.push(null);
    area.y.push(null);
  }
  return area;
}

// Makes the outline of the intervals of segments; empty where there are none.
function segmentBand(columns, segments, name) {
  const area = { x: [], y: [] };
  for (const s of segments.filter((segment) => Number.isFinite(segment[`${name}_lo`]))) {
    const [left, right] = [s.frame_start - 0.5, s.frame_end + 0.5].map((frame) => frame * columns.dt);
    const [low, high] = ["lo", "hi"].map((end) => UNSCALED[name](s[`${name}_${end}`]));
    area.x.push(left, right, right, left, null);
    area.y.push(high, high, low, low, null);
  }
  return area;
}

// Draws histograms as lines, one for each group (each adds up to 100 %) or state (all together do).
function drawHistograms(data, weighting, lines) {
  const alike = weighting ? "each track counts alike" : "each frame counts alike";
  const titles = { msd_1: `MSD at one frame (${data.units.msd_1})`, k: `K (${data.units.k})`, alpha: "α" };
  for (const [name, title] of Object.entries(titles)) {
    const { edges, sums } = data.histograms[name];
    const values = name === "alpha" ? edges : edges.map((edge) => 10 ** edge);
    const traces = histogramLines(sums[weighting], lines, data).map(({ counts, whole, ...line }) => ({ ...line,
      type: "scatter", mode: "lines", x: values,
      y: [...counts, counts[counts.length - 1]].map((c) => (100 * c) / whole),
      hovertemplate: "%{x:.3g}: %{y:.2f} %" }));
    const xaxis = name === "alpha" ? axis(title, { range: [0, 2] }) : logAxis(title, values);
    Plotly.react(`histogram-${name}`, traces, layout({ xaxis, yaxis: axis("share (%)", { rangemode: "tozero" }),
      title: { text: alike, font: { size: 13 }, x: 0, xref: "paper", xanchor: "left", y: 1, yref: "container",
        yanchor: "top", pad: { t: 8 } }, showlegend: true, margin: { l: 52, r: 12, t: 34, b: 48 } }), CONFIG);
  }
}

function histogramLines(sums, lines, data) {
  const add = (rows) => rows[0].map((_, bin) => rows.reduce((total, row) => total + row[bin], 0));
  const count = (row) => row.reduce((total, value) => total + value, 0) || 1;
  if (lines === "group") {
    return sums.map((states, i) => ({ counts: add(states), whole: count(add(states)), name: plain(tail(data.groups[i])),
      line: { shape: "hv", width: 1.8, color: GROUP_COLOURS[i], dash: DASHES[i % DASHES.length] } }));
  }
  const whole = count(add(sums.flat()));
  return data.states.slice(1).map((name, i) => ({ counts: add(sums.map((states) => states[i])), whole, name,
    line: { shape: "hv", width: 1.8, color: data.colours.state[i + 1] } }));
}

// Draws the survival curves of one group.
function drawDwells(target, group, data) {
  const traces = [];
  group.states.forEach((curve, i) => {
    if (!curve.time.length) return;
    const colour = data.colours.state[i];
    const common = { type: "scatter", mode: "lines", legendgroup: data.states[i] };
    const known = curve.low.map((low, j) => low !== null && curve.high[j] !== null);
    const ends = (name) => ({ x: [0, ...curve.time.filter((_, j) => known[j])],
      y: [1, ...curve[name].filter((_, j) => known[j])] });
    const edge = { shape: "hv", width: 0 };
    traces.push({ ...common, ...ends("low"), line: edge, showlegend: false, hoverinfo: "skip" });
    traces.push({ ...common, ...ends("high"), line: edge, showlegend: false, hoverinfo: "skip", fill: "tonexty",
      fillcolor: translucent(colour, 0.18) });
    traces.push({ ...common, x: [0, ...curve.time], y: [1, ...curve.survival], name: data.states[i],
      line: { shape: "hv", color: colour, width: 2 }, hovertemplate: `%{x:.3g} ${group.unit}: %{y:.2f}` });
  });
  const none = traces.length ? [] : [{ text: "no stay was seen to start and to end", showarrow: false, xref: "paper",
    yref: "paper", x: 0.5, y: 0.5 }];
  Plotly.react(target, traces, layout({ annotations: none,
    xaxis: axis(`length of the labelled stay (${group.unit})`, { rangemode: "tozero" }),
    yaxis: axis("share of stays", { range: [0, 1.03] }) }), CONFIG);
}
