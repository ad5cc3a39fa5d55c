// The map of tracks on a canvas: draws, zooms, moves and finds the track under the pointer.

const MOST_DRAWN = 150000; // points drawn while the map does not move
const MOST_MOVING = 30000; // points drawn while it moves
const REACH = 14; // pixels from a click to a track
const MARGIN = { left: 58, right: 12, top: 12, bottom: 46 };

class TrackMap {
  // points: columns x, y, frame and colour codes by mode. first: track i has the points first[i] to first[i + 1] - 1.
  constructor(canvas, points, first, palettes, unit, breakAt, onChoose, onDrawn) {
    Object.assign(this, { canvas, points, first, palettes, unit, breakAt, onChoose, onDrawn });
    this.mode = "state";
    this.tracks = [];
    this.chosen = -1;
    this.oneCode = new Uint8Array(points.x.length);
    this.boxes = first.slice(0, -1).map((_, i) => this.boxOf(i));
    this.listen();
  }

  boxOf(track) {
    const { x, y } = this.points;
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = this.first[track]; i < this.first[track + 1]; i++) {
      if (x[i] < box[0]) box[0] = x[i];
      if (y[i] < box[1]) box[1] = y[i];
      if (x[i] > box[2]) box[2] = x[i];
      if (y[i] > box[3]) box[3] = y[i];
    }
    return box;
  }

  show(tracks) {
    this.tracks = tracks;
    this.fit();
  }

  fit() {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (const track of this.tracks) {
      const trackBox = this.boxes[track];
      for (const i of [0, 1]) box[i] = Math.min(box[i], trackBox[i]);
      for (const i of [2, 3]) box[i] = Math.max(box[i], trackBox[i]);
    }
    const size = this.size();
    const extent = [Math.max(box[2] - box[0], 1e-9), Math.max(box[3] - box[1], 1e-9)];
    this.scale = 0.95 * Math.min(size.width / extent[0], size.height / extent[1]);
    this.centre = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    this.smallest = this.scale / 4;
    this.draw();
  }

  size() {
    const { clientWidth, clientHeight } = this.canvas;
    return { width: clientWidth - MARGIN.left - MARGIN.right, height: clientHeight - MARGIN.top - MARGIN.bottom };
  }

  // Converts a position to pixels on the canvas (y points down, as in images), and back.
  toScreen(x, y) {
    const { width, height } = this.size();
    return [MARGIN.left + width / 2 + (x - this.centre[0]) * this.scale,
      MARGIN.top + height / 2 + (y - this.centre[1]) * this.scale];
  }

  toPosition(left, top) {
    const { width, height } = this.size();
    return [this.centre[0] + (left - MARGIN.left - width / 2) / this.scale,
      this.centre[1] + (top - MARGIN.top - height / 2) / this.scale];
  }

  visible() {
    const { width, height } = this.size();
    const [x0, y0] = this.toPosition(MARGIN.left, MARGIN.top);
    const [x1, y1] = this.toPosition(MARGIN.left + width, MARGIN.top + height);
    return this.tracks.filter((track) => {
      const box = this.boxes[track];
      return box[0] <= x1 && box[2] >= x0 && box[1] <= y1 && box[3] >= y0;
    });
  }

  draw(most = MOST_DRAWN) {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    const tracks = this.visible();
    const total = tracks.reduce((sum, track) => sum + this.first[track + 1] - this.first[track], 0);
    const every = Math.max(1, Math.ceil(total / most));
    const { width, height } = this.size();
    context.save();
    context.beginPath();
    context.rect(MARGIN.left, MARGIN.top, width, height);
    context.clip();
    this.drawTracks(context, tracks, every, 1.1);
    if (this.chosen >= 0 && this.tracks.includes(this.chosen)) this.drawChosen(context);
    context.restore();
    this.drawAxes(context, width, height);
    this.onDrawn(every, tracks.length);
  }

  // Draws one path for each colour; a line has the colour of the frame where it begins.
  drawTracks(context, tracks, every, lineWidth) {
    const codes = this.points[`${this.mode}Code`];
    const paths = this.palettes[this.mode].map(() => new Path2D());
    for (const track of tracks) this.addTrack(track, every, codes, paths);
    context.lineWidth = lineWidth;
    context.lineJoin = "round";
    paths.forEach((path, code) => {
      context.strokeStyle = this.palettes[this.mode][code];
      context.stroke(path);
    });
  }

  addTrack(track, every, codes, paths) {
    const { x, y, frame } = this.points;
    const last = this.first[track + 1] - 1;
    let [left, top] = this.toScreen(x[this.first[track]], y[this.first[track]]);
    let open = -1;
    for (let from = this.first[track]; from < last;) {
      const to = Math.min(from + every, last);
      const [nextLeft, nextTop] = this.toScreen(x[to], y[to]);
      if (frame[to] - frame[from] <= this.breakAt * every) {
        const path = paths[codes[from]];
        if (open !== codes[from]) path.moveTo(left, top);
        path.lineTo(nextLeft, nextTop);
        open = codes[from];
      } else {
        open = -1;
      }
      [from, left, top] = [to, nextLeft, nextTop];
    }
  }

  drawChosen(context) {
    const halo = (colour, width) => {
      const path = new Path2D();
      this.addTrack(this.chosen, 1, this.oneCode, [path]);
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke(path);
    };
    halo("#1f2328", 7);
    halo("#ffffff", 4.5);
    this.drawTracks(context, [this.chosen], 1, 2.4);
  }

  drawAxes(context, width, height) {
    context.strokeStyle = "#afb8c1";
    context.lineWidth = 1;
    context.strokeRect(MARGIN.left - 0.5, MARGIN.top - 0.5, width + 1, height + 1);
    context.fillStyle = "#57606a";
    context.font = "12px system-ui, sans-serif";
    const [x0, y0] = this.toPosition(MARGIN.left, MARGIN.top);
    const [x1, y1] = this.toPosition(MARGIN.left + width, MARGIN.top + height);
    const step = niceStep(90 / this.scale);
    context.textAlign = "center";
    for (const value of multiples(x0, x1, step)) {
      const [left] = this.toScreen(value, 0);
      context.fillRect(left, MARGIN.top + height, 1, 5);
      context.fillText(tickText(value, step), left, MARGIN.top + height + 18);
    }
    context.fillText(`x (${this.unit})`, MARGIN.left + width / 2, MARGIN.top + height + 38);
    context.textAlign = "right";
    for (const value of multiples(y0, y1, step)) {
      const [, top] = this.toScreen(0, value);
      context.fillRect(MARGIN.left - 6, top, 5, 1);
      context.fillText(tickText(value, step), MARGIN.left - 9, top + 4);
    }
    context.textAlign = "center";
    context.save();
    context.translate(13, MARGIN.top + height / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(`y (${this.unit})`, 0, 0);
    context.restore();
  }

  // Finds the nearest track within REACH of a place on the canvas; -1 if there is none.
  trackAt(left, top) {
    const { x, y } = this.points;
    const [px, py] = this.toPosition(left, top);
    let [best, nearest] = [-1, (REACH / this.scale) ** 2];
    for (const track of this.visible()) {
      for (let i = this.first[track]; i < this.first[track + 1] - 1; i++) {
        const square = squareToLine(px - x[i], py - y[i], x[i + 1] - x[i], y[i + 1] - y[i]);
        if (square < nearest) [best, nearest] = [track, square];
      }
    }
    return best;
  }

  zoom(factor, left, top) {
    const { width, height } = this.size();
    const at = [left ?? MARGIN.left + width / 2, top ?? MARGIN.top + height / 2];
    const before = this.toPosition(...at);
    this.scale = Math.max(this.scale * factor, this.smallest);
    const after = this.toPosition(...at);
    this.centre = this.centre.map((value, i) => value + before[i] - after[i]);
    this.drawSoon();
  }

  // Draws few points at once, and all of them when the map no longer moves.
  drawSoon() {
    cancelAnimationFrame(this.frameRequest);
    clearTimeout(this.rest);
    this.frameRequest = requestAnimationFrame(() => this.draw(MOST_MOVING));
    this.rest = setTimeout(() => this.draw(), 200);
  }

  listen() {
    const canvas = this.canvas;
    let start = null;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), ...place(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      start = { at: place(event), centre: [...this.centre], moved: false };
      if (event.pointerType !== "touch") canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!start || event.pointerType === "touch") return;
      const shift = place(event).map((value, i) => value - start.at[i]);
      start.moved ||= Math.hypot(...shift) > 4;
      if (!start.moved) return;
      this.centre = start.centre.map((value, i) => value - shift[i] / this.scale);
      this.drawSoon();
    });
    canvas.addEventListener("pointercancel", () => { start = null; });
    canvas.addEventListener("pointerup", (event) => {
      const track = start && !start.moved ? this.trackAt(...place(event)) : -1;
      start = null;
      if (track >= 0) this.onChoose(track);
    });
    new ResizeObserver(() => { if (this.tracks.length) this.drawSoon(); }).observe(canvas);
  }
}

// Computes the square of the distance from (px, py) to the line from the origin to (dx, dy).
function squareToLine(px, py, dx, dy) {
  const length = dx * dx + dy * dy;
  const t = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
  return (px - t * dx) ** 2 + (py - t * dy) ** 2;
}

// Finds the smallest of 1, 2, 5 times a power of ten that is at least `length`.
function niceStep(length) {
  const power = 10 ** Math.floor(Math.log10(length));
  return power * [1, 2, 5, 10].find((m) => m * power >= length * 0.999);
}

function multiples(low, high, step) {
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.max(0, Math.floor(high / step) - first + 1) }, (_, i) => (first + i) * step);
}

function tickText(value, step) {
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
}
