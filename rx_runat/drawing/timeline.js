// Draws frames (see frame.py) on a canvas.
//
//   kernel  -- frame -->  receive  -->  layOut, once a frame  -->  draw, at every animation frame
//   kernel  <-- "here", only where frame.asks has grown --  a view in sight
//
// Between two frames the marks move by themselves, on the server's clock. Only a view in sight is drawn.
//
// A view sends as little as possible: under ipykernel 7 each message takes the output of threads away from their cell.
//
// `model` is what anywidget gives: get("frame"), send(message), on and off of "change:frame", "comm:close" (the kernel
// has closed the picture) and "comm_live_update" (the kernel is gone: it restarts).

const FONT = "11px ui-monospace, Menlo, Consolas, monospace";
const ROW = 15, EDGE = 8;  // px: a line of text; from the left edge, where a claim that is older than the picture stays
const SLIM = 0.42;  // half the width of a bar, as a fraction of the 75th part of the picture: bars may stand so close
const LOOK_MS = 1000;  // how often a view looks whether it is in sight, and whether frames still come
const SILENT_MS = 15e3;  // a kernel that is alive publishes a frame every 5 s, if it polls
const ROLES = ["faint", "rule", "paper", "ontime", "late", "claimed", "error"];
// By the number of lanes: how tall a lane is, and how much of that the tallest bar takes.
const LANES = [[1, 96, 54], [3, 62, 30], [Infinity, 46, 20]];
const LEGEND = [  // the first two entries are always shown; each of the rest only if the picture has such a mark
  ["waiting", null, "waiting"], ["fired", 0, "on time"], ["fired", 100, "over 20 ms late"], ["fired", 1000, "over 0.2 s late"],
  ["due", null, "due, not taken"], ["gone", null, "taken elsewhere"], ["claimed", null, "claimed"],
  ["lease", null, "lease ends"], ["back", null, "came back"], ["dead", null, "dead"],
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

// Long names are cut in the middle: names of one kind often begin alike.
function cut(text, most) {
  if (text.length <= most) return text;
  const tail = Math.max(0, Math.floor((most - 1) / 2));
  return `${text.slice(0, Math.max(0, most - 1 - tail))}…${text.slice(text.length - tail)}`;
}

function counts({ scheduled, due, claimed, dead, received }) {
  const words = [`${number.format(scheduled)} scheduled`, `${number.format(due)} due`];
  if (claimed) words.push(`${number.format(claimed)} claimed`);
  if (dead) words.push(`${number.format(dead)} dead`);
  return [...words, `${number.format(received)} received`].join(" · ");
}

// How late a key is, in the words of the legend.
function lateness(late) {
  return late === null || late <= 20 ? "on time" : late <= 200 ? "over 20 ms late" : "over 0.2 s late";
}

function legendOf(kind, late) {
  return FILLED.has(kind) ? lateness(late) : LEGEND.find(([each]) => each === kind)[2];
}

// How many keys the picture shows, by the words of the legend: "3 waiting, 2 on time".
function dots(frame) {
  const keys = new Map();
  for (const [kind, , , n, , late] of frame.marks)
    if (kind !== "lease") keys.set(legendOf(kind, late), (keys.get(legendOf(kind, late)) ?? 0) + n);
  return LEGEND.filter(([, , words]) => keys.has(words)).map(([, , words]) => `${number.format(keys.get(words))} ${words}`).join(", ");
}

function colorOf(kind, late) {
  if (FILLED.has(kind)) return lateness(late) === "on time" ? "ontime" : "late";
  if (kind === "claimed" || kind === "lease") return "claimed";
  if (kind === "dead") return "error";
  return kind === "due" ? "ink" : "faint";
}

// Half the height of a mark of several keys: each factor of ten takes a quarter of the room, as far as there is room.
function halfOf(keys, room, r) {
  return keys === 1 ? r : r + (room / 2 - r) * Math.min(1, Math.log10(keys) / 4);
}

const PATHS = {
  claimed: "M0 -7l7 7l-7 7l-7 -7z", back: "M0 -6l6 6l-6 6l-6 -6z", lease: "M-3 -7q6 7 0 14", dead: "M-5 -5l10 10m0 -10l-10 10",
};

// The outline of a mark around 0, 0. What is late differs by its shape as well: on time a circle, or a bar with round
// ends; over 20 ms late a triangle, or a bar with a point; over 0.2 s late a square, or a bar with corners.
function outline(kind, late, half, r) {
  if (PATHS[kind]) return new Path2D(PATHS[kind]);
  const path = new Path2D(), shape = FILLED.has(kind) ? lateness(late) : "on time";
  if (shape === "on time") path.roundRect(-r, -half, 2 * r, 2 * half, r);
  else if (shape === "over 0.2 s late") path.rect(-r + .5, -half + .5, 2 * r - 1, 2 * half - 1);
  else {
    const one = half === r, tip = one ? 2 * r : 1.8 * r, w = one ? r + 1 : r;
    path.moveTo(0, -half - 1);
    path.lineTo(w, -half + tip - 1);
    path.lineTo(w, half);
    path.lineTo(-w, half);
    path.lineTo(-w, -half + tip - 1);
    path.closePath();
  }
  return path;
}

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
function layOut(frame, scale, character) {
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
      const half = mark.text.length * character / 2, from = mark.kind === "claimed" ? first * scale + half : -Infinity;
      const x = Math.max(mark.at * scale, from);
      mark.row = ends.slice(0, mark.label && !marks.crowded ? 2 : 1).findIndex((end) => end <= x - half);
      if (mark.row >= 0) ends[mark.row] = x + half + (mark.label ? 4 : 14);
    }
    marks.written = marks.filter(({ row }) => row >= 0);
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
  let frame = null, lanes = [], colors = {}, colorsAt = -Infinity, character = 6.7, laidOutFor = 0, legendRows = 1;
  let ended = false, inView = true, answered = 0, heard = performance.now();
  let lost = "";  // why no more frames will come
  let shown = [];  // where marks were drawn, so that the pointer finds them

  function readColors(c) {
    colors = Object.fromEntries(ROLES.map((role) => [role, getComputedStyle(samples[role]).color]));
    colors.ink = getComputedStyle(root).color;
    character = c.measureText("0").width;
    colorsAt = performance.now();
  }

  // What is wrong, in words; "" if frames come, or if none need come.
  function trouble() {
    if (lost || frame.state === "still" || frame.state === "stopped") return lost;
    return performance.now() - heard > SILENT_MS ? "no news from the queue's process" : "";
  }

  function isMoving() { return !ended && frame !== null && frame.state === "live" && !trouble(); }

  function words() {
    const said = trouble() || frame.note;
    return !said ? counts(frame.counts) : frame.state === "away" ? said : `${said} · ${counts(frame.counts)}`;
  }

  function tell() {
    const label = `Timeline of ${frame.title}: ${words()}. It shows ${dots(frame) || "no keys"}.`;
    if (canvas.getAttribute("aria-label") !== label) canvas.setAttribute("aria-label", label);
  }

  function draw() {
    const width = root.clientWidth;
    if (!frame || !width) return;
    const c = canvas.getContext("2d");
    c.font = FONT;
    if (performance.now() - colorsAt > 1000) readColors(c);
    const place = measure(width);
    if (laidOutFor !== place.scale) { lanes = layOut(frame, place.scale, character); laidOutFor = place.scale; }
    resize(c, width, place.bottom + 2 * ROW + 8 + legendRows * 18);
    drawTitle(c, place);
    drawAxis(c, place);
    shown = [];
    lanes.forEach((marks, lane) => drawMarks(c, marks, place, place.laneY(lane)));
    drawLegend(c, place);
  }

  // Where everything stands, in px. `at0` is the x of now, `scale` the px of a millisecond, `room` the tallest bar.
  function measure(width) {
    const longest = Math.max(8, Math.floor(width / 5 / character));
    const names = (frame.lanes.length ? frame.lanes : [""]).map((name) => cut(name, longest));
    const [, tall, room] = LANES.find(([most]) => names.length <= most);
    const isNarrow = (frame.title.length + words().length + 3) * character > width;
    const head = isNarrow ? 12 + 2 * ROW : 12 + ROW, bottom = head + tall * names.length;
    const left = 8 + Math.max(...names.map((name) => name.length)) * character;
    const scale = (width - 12 - left) / (frame.window + frame.past), at0 = left + frame.past * scale;
    const bin = (width - 12 - left) / 75;
    // Without a new frame nobody knows what became of the keys, so the picture stops at the last one.
    const now = isMoving() ? clock.now() : frame.now;
    return {
      names, width, left, head, bottom, scale, at0, now, room, isNarrow,
      r: Math.max(4.2, Math.min(5.5, bin * .55)), rMany: Math.max(3, Math.min(4.2, bin * SLIM)),
      laneY: (lane) => head + tall * (lane + 1) - room / 2 - 4,
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

  function drawTitle(c, { width, isNarrow }) {
    const most = Math.floor((width - 8) / character);
    c.textAlign = "left";
    c.fillStyle = colors.ink;
    c.fillText(cut(frame.title, most), 4, 14);
    c.textAlign = isNarrow ? "left" : "right";
    if (frame.state === "away") c.fillStyle = colors.error;
    else if (trouble() || frame.note) c.fillStyle = colors.faint;
    c.fillText(cut(words(), most), isNarrow ? 4 : width - 4, isNarrow ? 14 + ROW : 14);
  }

  function drawAxis(c, { names, width, left, head, bottom, scale, at0, laneY }) {
    const fits = (step) => frame.window / 1e3 / step <= 6 && step * 1e3 * scale > 9 * character;
    const step = STEPS.find(fits) || frame.window / 5e3;
    c.textAlign = "center";
    for (let i = 1; i * step * 1e3 <= frame.window + 1; i++) {
      for (const sign of [1, -1]) {
        const x = at0 + sign * i * step * 1e3 * scale, text = `${sign > 0 ? "+" : "-"}${tickLabel(+(i * step).toFixed(6))}`;
        if (x < left || x > width - 8) continue;
        c.fillStyle = colors.rule;
        c.fillRect(x, head, 1, bottom - head);
        c.fillStyle = colors.faint;
        const half = text.length * character / 2;
        if (left < x - half && x + half < width) c.fillText(text, x, bottom + 14);
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
    c.fillStyle = isMoving() || frame.state === "still" ? colors.ink : colors.faint;
    c.fillRect(at0 - .75, head - 4, 1.5, bottom - head + 6);
    c.fillText("now", at0, bottom + 14);
    c.fillStyle = colors.faint;
    c.fillText("time from now", (left + width) / 2, bottom + 14 + ROW);
  }

  function drawMark(c, kind, late, keys, x, y, { room, r, rMany }) {
    const half = halfOf(keys, room, r), path = outline(kind, late, half, keys === 1 ? r : rMany);
    const isFilled = FILLED.has(kind) || kind === "back", isOpen = kind === "lease" || kind === "dead";
    c.strokeStyle = colors[colorOf(kind, late)];
    c.fillStyle = isFilled ? c.strokeStyle : colors.paper;
    c.lineWidth = isOpen ? 2 : 1.5;
    c.translate(x, y);
    if (!isOpen) c.fill(path);
    c.setLineDash(kind === "gone" ? [2.5, 2.5] : []);
    c.stroke(path);
    c.setLineDash([]);
    c.translate(-x, -y);
    return PATHS[kind] ? 7 : half;
  }

  function drawMarks(c, marks, place, y) {
    const { width, left, scale, at0, room, r, x: xOf } = place;
    const out = marks.filter(({ kind }) => kind === "claimed" || kind === "lease").map(({ since }) => xOf(since));
    if (out.length) {  // a line from the first claim to the end of the last lease
      const start = Math.max(Math.min(at0, ...out) + 7, left), end = Math.min(Math.max(at0, ...out), width - 4);
      c.globalAlpha = .6;
      c.fillStyle = colors.claimed;
      c.fillRect(start, y - 1.25, end - start, 2.5);
      c.globalAlpha = 1;
    }
    for (const { kind, late, since } of marks) {  // a line from its run_at, below all marks
      const x = xOf(since), isTold = kind === "fired" || (kind === "retried" && !marks.crowded);
      if (!isTold || late * scale <= r || x < left + r) continue;
      c.fillStyle = colors[colorOf(kind, late)];
      c.fillRect(Math.max(left, x - late * scale), y - 1, Math.min(late * scale, x - left), 2);
    }
    let tallest = 0;
    for (const mark of marks) {
      const { kind, late, keys } = mark;
      let x = xOf(mark.since);
      if (STAY.has(kind)) x = Math.max(x, at0);
      if (kind === "claimed") x = Math.max(x, left + EDGE);
      mark.x = null;
      if (x < left + r || x > width + r) continue;
      const top = y + (marks.crowded && ASIDE.has(kind) ? Math.min(14, room / 2 - 3) : 0);
      const half = drawMark(c, kind, late, keys, x, top, place);
      mark.x = x;
      tallest = Math.max(tallest, y - top + half);
      shown.push([x, top, half, mark]);
    }
    writeLabels(c, marks.written, place, y - tallest - 4);
  }

  // Labels stand above all marks of their lane. They stay on their side of the line of now and inside of the
  // picture. One that would cover another is left out.
  function writeLabels(c, marks, { width, left, at0 }, y) {
    const ends = { past: [left - 4, left - 4], future: [at0, at0] };
    c.textAlign = "left";
    c.fillStyle = colors.ink;
    for (const mark of marks) {
      if (mark.x === null) continue;
      const wide = mark.text.length * character, isPast = !STAY.has(mark.kind), taken = isPast ? ends.past : ends.future;
      let x = mark.x - wide / 2;
      if (mark.kind === "claimed") x = Math.max(x, left);
      x = Math.min(x, (isPast ? at0 : width) - 4 - wide);
      if (!isPast) x = Math.max(x, at0 + 4);
      if (x < taken[mark.row] || x + wide > width) continue;
      taken[mark.row] = x + wide + 4;
      c.fillText(mark.text, x, y - mark.row * 12);
    }
  }

  function drawLegend(c, place) {
    let x = 10, row = 0;
    c.textAlign = "left";
    const has = new Set(frame.marks.map(([kind, , , , , late]) => legendOf(kind, late)));
    LEGEND.forEach(([kind, late, text], i) => {
      if (i > 1 && !has.has(text)) return;
      if (x > 10 && x + 11 + text.length * character > place.width) { x = 10; row++; }
      const y = place.bottom + 2 * ROW + 12 + row * 18;
      drawMark(c, kind, late, 1, x, y, { ...place, r: 5 });
      c.fillStyle = colors.faint;
      c.fillText(text, x + 11, y + 4);
      x += text.length * character + 32;
    });
    if (row + 1 > legendRows) { legendRows = row + 1; requestAnimationFrame(draw); }  // it grows, but does not jump back
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
    const hit = shown.find(([x, y, half]) => Math.abs(offsetX - x) <= 6.5 && Math.abs(offsetY - y) <= half + 2);
    canvas.title = hit ? describe(hit[3]) : "";
  });

  function receive() {
    const next = model.get("frame");
    if (!next || !next.marks) return;
    frame = next;
    lost = "";
    heard = performance.now();
    clock.set(frame.now);
    laidOutFor = 0;
    tell();
    wake();
  }

  function isWatched() { return !ended && inView && el.isConnected && document.visibilityState === "visible"; }

  function sign() {
    if (lost || !frame || !(frame.asks > answered)) return;
    answered = frame.asks;
    heard = performance.now();
    try {
      model.send({ view: "here" });
    } catch {  // the connection to the kernel has ended
      lose("the kernel is gone");
    }
  }

  let requested = 0;  // the animation frame that will draw next; 0 if none
  function animate() {
    requested = 0;
    if (!isWatched()) return;
    draw();
    if (isMoving()) requested = requestAnimationFrame(animate);
  }
  function wake() {
    if (!frame || !isWatched()) return;
    sign();
    tell();
    if (!requested) requested = requestAnimationFrame(animate);
  }

  function lose(why) {
    lost = why;
    if (frame) { tell(); draw(); }
  }
  // A still, and the last picture of a stopped queue, have no more to lose.
  function restarts() { if (frame?.state === "live" || frame?.state === "away") lose("the kernel was restarted"); }
  function end() { ended = true; draw(); }  // the kernel has closed the picture; what it showed last stays

  const observer = new IntersectionObserver(([entry]) => { inView = entry.isIntersecting; wake(); });
  observer.observe(root);
  const sizes = new ResizeObserver(wake);
  sizes.observe(root);
  document.addEventListener("visibilitychange", wake);
  const timer = setInterval(wake, LOOK_MS);
  const events = { "change:frame": receive, "comm:close": end, comm_live_update: restarts };
  for (const [name, listener] of Object.entries(events)) model.on(name, listener);
  receive();

  return () => {
    ended = true;
    cancelAnimationFrame(requested);
    clearInterval(timer);
    observer.disconnect();
    sizes.disconnect();
    document.removeEventListener("visibilitychange", wake);
    for (const [name, listener] of Object.entries(events)) model.off(name, listener);
  };
}

export default { render };
