// Starts the page after the browser has shown the summary: first the map, then the figures, then the other columns.

const byId = (name) => document.getElementById(name);
const SCALES = ["msd_1", "k", "alpha"];
const VALUES = SCALES.flatMap((name) => [name, `${name}_lo`, `${name}_hi`]);
const MEASURED = { net_speed: "net speed", confinement_radius: "confinement radius" }; // columns of segments
const report = { ready: false };

async function start() {
  const data = JSON.parse(byId("data").textContent);
  report.data = data;
  if (data.tracks.ids.length) {
    await readTracks(data);
    report.points = await decodeAll(data.points, ["x", "y", "frame", "state", ...SCALES]);
    makeMap(data);
    await nextFrame();
    await loadPlotly();
    listenToFigures(data);
    Object.assign(report.points, await decodeAll(data.points,
      [...VALUES, ...data.states.map((s) => `p_${s}`)].filter((name) => !report.points[name])));
    showFile(report.fileOf[report.eventful]);
    choose(report.eventful);
    listenToChoice(data);
  }
  report.ready = true;
  document.body.dataset.ready = "true";
}

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));

async function loadPlotly() {
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(await gunzip(byId("plotly").textContent));
  document.head.append(script);
}

// Reads where the points and segments of each track begin, its file, and which track has most segments.
async function readTracks(data) {
  const { tracks } = data;
  const counts = await decodeAll(tracks, ["points", "segments", "file"]);
  report.first = running(counts.points);
  report.firstSegment = running(counts.segments);
  report.fileOf = counts.file ?? new Float64Array(tracks.ids.length);
  report.eventful = counts.segments.indexOf(Math.max(...counts.segments));
  report.indexOf = new Map(tracks.ids.map((id, i) => [id, i]));
  report.segments = await decodeAll(data.segments, Object.keys(data.segments));
}

function running(counts) {
  const starts = [0];
  for (const n of counts) starts.push(starts[starts.length - 1] + n);
  return starts;
}

function makeMap(data) {
  const { points } = report;
  const { colours } = data;
  points.stateCode = Uint8Array.from(points.state);
  for (const name of SCALES) {
    const { low, high, colours: { length } } = colours[name];
    const step = (high - low) / length;
    points[`${name}Code`] = Uint8Array.from(points[name], (value) =>
      (Number.isNaN(value) ? length : Math.min(length - 1, Math.max(0, Math.floor((value - low) / step)))));
  }
  const palettes = { state: colours.state };
  for (const name of SCALES) palettes[name] = [...colours[name].colours, colours.trapped];
  report.map = new TrackMap(byId("map"), points, report.first, palettes, data.units.x, data.breakAt,
    (track) => { if (report.ready) choose(track); },
    (every) => {
      byId("map-note").textContent = every > 1
        ? `At this zoom, only one in ${every} points of each track is drawn. Zoom in to see all.` : "";
    });
  showFile(report.fileOf[report.eventful]);
  performance.mark("map");
  showLegend();
}

function showFile(file) {
  byId("file").value = file;
  if (report.file === file) return;
  report.file = file;
  report.tracks = [...report.first.keys()].filter((i) => i < report.fileOf.length && report.fileOf[i] === file);
  report.map.show(report.tracks);
}

function showLegend() {
  const { colours, states, units } = report.data;
  const { mode } = report.map;
  const swatch = (colour, text) => {
    const item = document.createElement("span");
    const mark = document.createElement("i");
    mark.style.background = colour;
    item.append(mark, text);
    return item;
  };
  const legend = byId("map-legend");
  if (mode === "state") {
    legend.replaceChildren(...states.map((state, i) => swatch(colours.state[i], state)));
    return;
  }
  const { low, high, colours: ramp } = colours[mode];
  const scale = document.createElement("span");
  const bar = document.createElement("i");
  bar.className = "ramp";
  bar.style.background = `linear-gradient(90deg, ${ramp.join(", ")})`;
  const title = document.createElement("span");
  title.innerHTML = mode === "alpha" ? "α" : `${NAMES[mode]} (${units[mode]})`; // escaped where it was made
  const ends = [low, high].map((value) => UNSCALED[mode](value).toPrecision(2));
  scale.append(title, ` ${short(ends[0])}`, bar, short(ends[1]));
  legend.replaceChildren(scale, swatch(colours.trapped, "trapped"));
}

const short = (value) => String(Number(value));

// Opens a track: draws its values over time, lists its segments, marks it on the map.
function choose(track) {
  const { data, map, points, first } = report;
  report.chosen = map.chosen = track;
  showFile(report.fileOf[track]);
  map.draw();
  const values = {};
  for (const name of ["frame", ...VALUES, ...data.states.map((s) => `p_${s}`)]) {
    if (points[name]) values[name] = points[name].slice(first[track], first[track + 1]);
  }
  values.dt = data.frameIntervals[report.fileOf[track]] ?? 1;
  values.time = values.frame.map((frame) => frame * values.dt);
  const segments = segmentsOf(track);
  const id = data.tracks.ids[track];
  const { source } = data.tracks;
  const origin = source ? `, track ${source[track]} of ${data.files[report.fileOf[track]]}` : "";
  byId("track-title").textContent = `Track ${id}${origin}: ${values.frame.length} points, `
    + `${segments.length} segment${segments.length > 1 ? "s" : ""}`;
  byId("track-id").value = id;
  drawTrace("trace", values, segments, data);
  listSegments(segments, values.dt);
}

function segmentsOf(track) {
  const range = [report.firstSegment[track], report.firstSegment[track + 1]];
  return Array.from({ length: range[1] - range[0] }, (_, i) =>
    Object.fromEntries(Object.entries(report.segments).map(([name, column]) => [name, column[range[0] + i]])));
}

function listSegments(segments, dt) {
  const { states, units, timeUnit } = report.data;
  const format = (value) => (Number.isNaN(value) ? "–" : short(value.toPrecision(3)));
  const between = (s, name, same = (v) => v) => {
    const ends = [s[`${name}_lo`], s[`${name}_hi`]].map((end) => format(same(end ?? NaN)));
    if (!Number.isFinite(s[name])) return ["–", ...(ends[1] === "–" ? [] : [`below ${ends[1]}`])];
    return [format(same(s[name])), ...(ends[0] === "–" ? [] : [`${ends[0]} to ${ends[1]}`])];
  };
  const columns = [["frames", (s) => [`${s.frame_start} to ${s.frame_end}`]]];
  if (timeUnit === "s") columns.push(["duration (s)", (s) => [format((s.frame_end - s.frame_start + 1) * dt)]]);
  columns.push(["state", (s) => [states[s.state]]]);
  for (const name of SCALES) {
    const unit = name === "alpha" ? "" : ` (${units[name]})`;
    columns.push([`${NAMES[name]}${unit}`, (s) => between(s, name, UNSCALED[name])]);
  }
  for (const [name, title] of Object.entries(MEASURED)) {
    if (report.segments[name]) columns.push([`${title} (${units[name] ?? "?"})`, (s) => between(s, name)]);
  }
  const element = (tag, ...content) => {
    const made = document.createElement(tag);
    made.append(...content);
    return made;
  };
  const titles = columns.map(([title]) => {
    const cell = element("th");
    cell.innerHTML = title; // units were escaped where they were made
    return cell;
  });
  const lines = segments.map((s) => element("tr", ...columns.map(([, read]) => {
    const [value, interval] = read(s);
    return element("td", value, ...(interval ? [element("small", interval)] : []));
  })));
  byId("track-segments").replaceChildren(element("thead", element("tr", ...titles)), element("tbody", ...lines));
}

function fillSelect(select, names) {
  select.replaceChildren(...names.map((name, i) => new Option(name, i)));
  select.closest(".field").hidden = names.length < 2;
}

const onEach = (name, listener) =>
  document.querySelectorAll(`input[name=${name}]`).forEach((input) => input.addEventListener("change", listener));
const checked = (name) => document.querySelector(`input[name=${name}]:checked`).value;

function listenToChoice(data) {
  onEach("colour", () => {
    report.map.mode = checked("colour");
    report.map.draw();
    showLegend();
  });
  fillSelect(byId("file"), data.files);
  byId("file").value = report.file;
  byId("file").addEventListener("change", () => {
    showFile(Number(byId("file").value));
    choose(mostSegments(report.tracks));
  });
  byId("choose").addEventListener("submit", (event) => {
    event.preventDefault();
    chooseById(byId("track-id").value);
  });
  byId("track-id").addEventListener("change", () => chooseById(byId("track-id").value));
  const step = (by) => choose(report.tracks.at((report.tracks.indexOf(report.chosen) + by) % report.tracks.length));
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("zoom-in").addEventListener("click", () => report.map.zoom(1.6));
  byId("zoom-out").addEventListener("click", () => report.map.zoom(1 / 1.6));
  byId("zoom-all").addEventListener("click", () => report.map.fit());
}

function mostSegments(tracks) {
  const count = (i) => report.firstSegment[i + 1] - report.firstSegment[i];
  return tracks.reduce((best, i) => (count(i) > count(best) ? i : best), tracks[0]);
}

function chooseById(text) {
  const track = report.indexOf.get(text.trim());
  if (track !== undefined) choose(track);
  else byId("track-title").textContent = `There is no analysed track ${text}.`;
}

function listenToFigures(data) {
  byId("lines-field").hidden = !data.by;
  byId("lines-by").textContent = data.by || "";
  if (!data.by) document.querySelector("input[name=lines][value=state]").checked = true;
  const draw = () => {
    const weighting = Number(checked("weighting"));
    drawHistograms(data, weighting, checked("lines"));
    const trapped = data.histograms.trapped[weighting].map((share, i) =>
      `${(100 * share).toFixed(1)} %${data.by ? ` of ${data.groups[i]}` : ""}`);
    byId("distribution-note").textContent = `${weighting ? "Each track counts alike" : "Each frame counts alike"}. `
      + "Trapped frames have no K and no α and are in none of the three figures. Their share: "
      + `${trapped.join(", ")}.`;
  };
  onEach("weighting", draw);
  onEach("lines", draw);
  draw();
  fillSelect(byId("group"), data.dwells.map((group) => group.name));
  const showGroup = () => {
    const chosen = Number(byId("group").value) || 0;
    document.querySelectorAll(".group").forEach((part) => { part.hidden = Number(part.dataset.group) !== chosen; });
    drawDwells("dwell-curves", data.dwells[chosen], data);
  };
  byId("group").addEventListener("change", showGroup);
  showGroup();
}

function fail(error) {
  byId("failure").hidden = false;
  byId("failure").textContent = typeof DecompressionStream === "undefined"
    ? "This browser is too old to draw the figures. Use Chrome 80, Firefox 113, Safari 16.4 or a later version."
    : `The figures could not be drawn: ${error}`;
  throw error;
}

nextFrame().then(start).catch(fail);
