// Draws frames (see frame.py) on a canvas.
//
//   kernel  -- frame -->  receive  -->  layOut, once a frame  -->  draw, at every animation frame
//   kernel  <-- "here" every 2 s, "gone" at the end --  the view
//
// Between two frames the marks move by themselves, on the server's clock. Only a view in sight is drawn.

const HEAD = 28, FOOT = 46, R = 5.5, R_MANY = 4.2, CHARACTER = 6.7;
const EDGE = 8;  // px from the left edge: a claim that is older than the picture stays there
const SIGN_MS = 2000;  // how often a view in sight gives a sign of life; the kernel stops polling after 10 s without one
const FONT = "11px ui-monospace, Menlo, Consolas, monospace";
const ROLES = ["faint", "rule", "paper", "now", "ontime", "late", "later", "claimed"];
const LEGEND = [
  ["waiting", null, "waiting"], ["fired", 0, "on time"], ["fired", 100, "over 20 ms late"], ["fired", 1000, "over 0.2 s late"],
  ["gone", null, "taken elsewhere"], ["claimed", null, "claimed"], ["lease", null, "lease ends"],
  ["back", null, "came back"], ["dead", null, "dead"],
];
const STAY = new Set(["waiting", "due", "lease"]);  // kinds that stay at now once their time has come
const UNWRITTEN = new Set(["lease", "back"]);  // kinds without a label: their key is written at its claim, or where it waits
const FILLED = new Set(["fired", "retried", "done"]);
const ASIDE = new Set(["back", "dead"]);  // kinds that are drawn below the line of a crowded lane
// Rare kinds are drawn last, so that nothing covers them. A crowded lane has no room for their labels.
const ON_TOP = { claimed: 1, retried: 2, back: 3, dead: 4 };
const FEW = 4;  // marks of several keys; a lane with more of them is crowded
const STEPS = [
  .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400,
  21600, 43200, 86400, 172800, 432000, 604800,
];

const number = new Intl.NumberFormat("en");

function span(ms) {
  const size = Math.abs(ms);
  if (size < 1000) return `${size < 10 ? +size.toFixed(1) : Math.round(size)} ms`;
  if (size < 60e3) return `${+(size / 1e3).toFixed(1)} s`;
  if (size < 3600e3) return `${+(size / 60e3).toFixed(1)} min`;
  return `${+(size / 3600e3).toFixed(1)} h`;
}

function tickLabel(seconds) {
  for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]])
    if (seconds >= unit && seconds % unit === 0) return `${seconds / unit} ${name}`;
  return seconds < .1 ? `${+(seconds * 1e3).toFixed(3)} ms` : `${+seconds.toFixed(6)} s`;
}

function height(keys) { return keys === 1 ? 2 * R : 2 * R + 1 + 8 * Math.log10(keys); }

function counts({ scheduled, due, claimed, dead, received }) {
  const words = [`${number.format(scheduled)} scheduled`, `${number.format(due)} due`];
  if (claimed) words.push(`${number.format(claimed)} claimed`);
  if (dead) words.push(`${number.format(dead)} dead`);
  return [...words, `${number.format(received)} received`].join(" · ");
}

const DIAMOND = new Path2D("M0 -7l7 7l-7 7l-7 -7z");
const PATHS = {
  claimed: DIAMOND, back: DIAMOND, lease: new Path2D("M-3 -7q6 7 0 14"), dead: new Path2D("M-5 -5l10 10m0 -10l-10 10"),
};

// The server's clock, estimated from the `now` of the frames. Every frame takes some time to arrive, so its `now` is
// behind the server's clock; the frame that arrived fastest gives the best estimate. The estimate may fall by 0.5 ms a
// frame, so that it follows clocks that drift apart. A difference of more than a second means that a clock was set.
function makeClock() {
  let offset = null;
  return {
    set(now) {
      const seen = now - performance.now();
      if (offset === null || Math.abs(seen - offset) > 1000) offset = seen;
      else offset = Math.max(seen, offset - .5);
    },
    now() { return performance.now() + offset; },
  };
}

// Decides which labels are written, in which row, and which marks are drawn last. All marks move at the same speed, so
// this is decided once for each frame that the kernel sends (and each new scale), not at every animation frame.
function layOut(frame, scale) {
  const lanes = (frame.lanes.length ? frame.lanes : [""]).map(() => []), first = frame.now - frame.past;
  for (const [kind, lane, at, keys, label, late] of frame.marks) {
    const from = kind === "due" ? frame.now : kind === "claimed" ? first : -Infinity;
    lanes[lane]?.push({ kind, at: Math.max(at, from), since: at, keys, label, late });
  }
  lanes.forEach((marks, place) => {
    marks.crowded = marks.filter(({ kind, keys }) => keys > 1 && !ASIDE.has(kind)).length > FEW;
    marks.sort((a, b) => a.at - b.at);
    const ends = [-Infinity, -Infinity];
    for (const mark of marks) {
      const named = mark.keys === 1 && mark.label === frame.lanes[place], hidden = marks.crowded && mark.kind in ON_TOP;
      mark.row = -1;
      if (named || hidden || UNWRITTEN.has(mark.kind)) continue;
      mark.text = mark.label || number.format(mark.keys);
      const half = mark.text.length * CHARACTER / 2, from = mark.kind === "claimed" ? first * scale + half : -Infinity;
      const x = Math.max(mark.at * scale, from);
      mark.row = ends.slice(0, mark.label && !marks.crowded ? 2 : 1).findIndex((end) => end <= x - half);
      if (mark.row >= 0) ends[mark.row] = x + half + (mark.label ? 4 : 14);
    }
    marks.sort((a, b) => (ON_TOP[a.kind] ?? 0) - (ON_TOP[b.kind] ?? 0));
  });
  return lanes;
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "rx-runat-timeline";
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  const samples = Object.fromEntries(ROLES.map((role) => {
    const sample = document.createElement("i");
    sample.className = role;
    return [role, sample];
  }));
  root.append(canvas, ...Object.values(samples));
  el.append(root);

  const clock = makeClock();
  let frame = null, lanes = [], colors = {}, colorsAt = -Infinity, ended = false, inView = true, laidOutFor = 0;
  let shown = [];  // where marks were drawn, so that the pointer finds them

  function readColors() {
    colors = Object.fromEntries(ROLES.map((role) => [role, getComputedStyle(samples[role]).color]));
    colors.ink = getComputedStyle(root).color;
    colorsAt = performance.now();
  }

  function colorOf(kind, late) {
    if (FILLED.has(kind) && late !== null) return late <= 20 ? colors.ontime : late <= 200 ? colors.late : colors.later;
    if (kind === "claimed" || kind === "lease") return colors.claimed;
    if (kind === "dead") return colors.later;
    return kind === "gone" || kind === "back" ? colors.faint : colors.ink;
  }

  function drawMark(c, { kind, keys, late }, x, y) {
    const color = colorOf(kind, late);
    c.strokeStyle = c.fillStyle = color;
    c.lineWidth = 1.5;
    const path = PATHS[kind];
    if (path) {
      c.lineWidth = kind === "dead" || kind === "lease" ? 2 : 1.5;
      c.translate(x, y);
      c.stroke(path);
      c.translate(-x, -y);
      return 7;
    }
    const half = height(keys) / 2;
    c.beginPath();
    const r = keys === 1 ? R : R_MANY;
    c.roundRect(x - r, y - half, 2 * r, 2 * half, r);
    if (FILLED.has(kind)) c.fill();
    else { c.fillStyle = colors.paper; c.fill(); }
    c.setLineDash(kind === "gone" ? [2.5, 2.5] : []);
    c.stroke();
    c.setLineDash([]);
    return half;
  }

  function draw() {
    const width = root.clientWidth;
    if (!frame || !width) return;
    if (performance.now() - colorsAt > 1000) readColors();
    const c = canvas.getContext("2d"), place = measure(width);
    if (laidOutFor !== place.scale) { lanes = layOut(frame, place.scale); laidOutFor = place.scale; }
    resize(c, width, place.bottom + FOOT);
    drawTitle(c, place);
    drawAxis(c, place);
    shown = [];
    lanes.forEach((marks, lane) => drawMarks(c, marks, place, place.laneY(lane)));
    drawLegend(c, place);
  }

  // Where everything stands, in px. `at0` is the x of now, `scale` the px of a millisecond.
  function measure(width) {
    const names = frame.lanes.length ? frame.lanes : [""];
    const tall = names.length === 1 ? 84 : names.length < 4 ? 58 : 46, bottom = HEAD + tall * names.length;
    const left = 8 + Math.max(...names.map((name) => name.length)) * CHARACTER;
    const scale = (width - 12 - left) / (frame.window + frame.past), at0 = left + frame.past * scale;
    // Without a new frame nobody knows what became of the keys, so the picture stops at the last one.
    const now = ended || frame.note ? frame.now : clock.now();
    return {
      names, width, left, bottom, scale, at0, now,
      laneY: (lane) => HEAD + tall * (lane + .62),
      x: (at) => at0 + (at - now) * scale,
    };
  }

  function resize(c, width, height) {
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    c.font = FONT;
  }

  function drawTitle(c, { width }) {
    c.textAlign = "left";
    c.fillStyle = colors.ink;
    c.fillText(frame.title, 4, 16);
    c.textAlign = "right";
    c.fillStyle = frame.note ? colors.later : colors.ink;
    c.fillText(frame.note || counts(frame.counts), width - 4, 16);
  }

  function drawAxis(c, { names, width, left, bottom, scale, at0, laneY }) {
    const step = STEPS.find((each) => frame.window / 1e3 / each <= 6) || frame.window / 5e3;
    c.textAlign = "center";
    for (let i = 1; i * step * 1e3 <= frame.window + 1; i++) {
      for (const sign of [1, -1]) {
        const x = at0 + sign * i * step * 1e3 * scale;
        if (x < left || x > width - 8) continue;
        c.fillStyle = colors.rule;
        c.fillRect(x, HEAD, 1, bottom - HEAD);
        c.fillStyle = colors.faint;
        if (left + 12 < x && x < width - 30) c.fillText(`${sign > 0 ? "+" : "-"}${tickLabel(+(i * step).toFixed(6))}`, x, bottom + 14);
      }
    }
    names.forEach((name, lane) => {
      const y = laneY(lane);
      c.fillStyle = colors.rule;
      c.fillRect(left, y - .5, width - left - 4, 1);
      c.fillStyle = colors.ink;
      c.textAlign = "left";
      c.fillText(name, 4, y + 4);
      c.textAlign = "center";
    });
    c.fillStyle = colors.now;
    c.fillRect(at0 - .75, HEAD - 4, 1.5, bottom - HEAD + 6);
    c.fillText("now", at0, bottom + 14);
  }

  function drawMarks(c, marks, { width, left, scale, at0, x: xOf }, y) {
    const out = marks.filter(({ kind }) => kind === "claimed" || kind === "lease").map(({ since }) => xOf(since));
    if (out.length) {  // a line from the first claim to the end of the last lease
      const start = Math.max(Math.min(at0, ...out) + 7, left), end = Math.min(Math.max(at0, ...out), width - 4);
      c.globalAlpha = .6;
      c.fillStyle = colors.claimed;
      c.fillRect(start, y - 1.25, end - start, 2.5);
      c.globalAlpha = 1;
    }
    for (const mark of marks) {
      let x = xOf(mark.since);
      if (STAY.has(mark.kind)) x = Math.max(x, at0);
      const stays = mark.kind === "claimed" && x < left + EDGE;
      if (stays) x = left + EDGE;
      if (x < left + R || x > width + R) continue;
      const { kind, late } = mark, top = y + (marks.crowded && ASIDE.has(kind) ? 14 : 0);
      if ((kind === "fired" || (kind === "retried" && !marks.crowded)) && late * scale > R) {  // a line from its run_at
        c.fillStyle = colorOf(kind, late);
        c.fillRect(Math.max(left, x - late * scale), y - 1, Math.min(late * scale, x - left), 2);
      }
      const half = drawMark(c, mark, x, top);
      const wide = mark.row >= 0 ? mark.text.length * CHARACTER / 2 : 0, middle = stays ? Math.max(x, left + wide) : x;
      if (mark.row >= 0 && middle - wide > left - 4) {
        c.fillStyle = colors.ink;
        c.fillText(mark.text, middle, y - half - 4 - mark.row * 12);
      }
      shown.push([x, top, half, mark]);
    }
  }

  function drawLegend(c, { width, bottom }) {
    let x = 10;
    c.textAlign = "left";
    const shows = new Set(frame.marks.map(([kind, , , , , late]) => colorOf(kind, late) + (FILLED.has(kind) ? "fired" : kind)));
    for (const [kind, late, text] of LEGEND) {
      if (kind !== "waiting" && late !== 0 && !shows.has(colorOf(kind, late) + kind)) continue;
      if (x + 11 + text.length * CHARACTER > width) break;
      drawMark(c, { kind, keys: 1, late }, x, bottom + 33);
      c.fillStyle = colors.faint;
      c.fillText(text, x + 11, bottom + 37);
      x += text.length * CHARACTER + 32;
    }
  }

  // The words that the pointer shows at a mark.
  function describe({ kind, since, keys, label, late }) {
    const what = label || `${number.format(keys)} keys`, away = since - clock.now();
    if (kind === "waiting") return `${what}: in ${span(Math.max(away, 0))}`;
    if (kind === "due") return `${what}: due for ${span(away)}, nobody takes it`;
    if (kind === "fired") return `${what}: ${late < 1 ? "on time" : `${span(late)} late${keys > 1 ? " at most" : ""}`}`;
    if (kind === "retried") return `${what}: not at the first attempt, ${span(late)} late${keys > 1 ? " at most" : ""}`;
    if (kind === "done") return `${what}: done, claimed ${late < 1 ? "on time" : `${span(late)} late`}`;
    if (kind === "gone") return `${what}: taken by another process`;
    if (kind === "claimed") return `${what}: claimed, out for ${span(away)}`;
    if (kind === "lease") return away > 0 ? `${what}: its lease ends in ${span(away)}` : `${what}: its lease has ended`;
    return kind === "back" ? `${what}: claimed here, and came back` : `${what}: given up, a dead letter`;
  }

  canvas.addEventListener("mousemove", ({ offsetX, offsetY }) => {
    const hit = shown.find(([x, y, half]) => Math.abs(offsetX - x) <= R + 1 && Math.abs(offsetY - y) <= half + 2);
    canvas.title = hit ? describe(hit[3]) : "";
  });

  function receive() {
    const next = model.get("frame");
    if (!next || !next.marks) return;
    frame = next;
    clock.set(frame.now);
    laidOutFor = 0;
    canvas.setAttribute("aria-label", `Timeline of ${frame.title}: ${frame.note || counts(frame.counts)}`);
  }

  function isWatched() { return !ended && inView && el.isConnected && document.visibilityState === "visible"; }
  function sign() { if (isWatched()) model.send({ view: "here" }); }

  let requested = 0;  // the animation frame that will draw next; 0 if none
  function animate() {
    requested = 0;
    if (!isWatched()) return;
    draw();
    requested = requestAnimationFrame(animate);
  }
  function wake() {
    sign();
    if (!requested && isWatched()) requested = requestAnimationFrame(animate);
  }

  function end() { ended = true; draw(); }  // the kernel has closed the widget; the last picture stays

  const observer = new IntersectionObserver(([entry]) => { inView = entry.isIntersecting; wake(); });
  observer.observe(root);
  document.addEventListener("visibilitychange", wake);
  model.on("change:frame", receive);
  const timer = setInterval(wake, SIGN_MS);
  model.on("comm:close", end);
  receive();
  wake();

  return () => {
    if (!ended) model.send({ view: "gone" });
    ended = true;
    cancelAnimationFrame(requested);
    clearInterval(timer);
    observer.disconnect();
    document.removeEventListener("visibilitychange", wake);
    model.off("change:frame", receive);
    model.off("comm:close", end);
  };
}

export default { render };
