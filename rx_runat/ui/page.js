// Shows what the stream of server-sent events brings.
//
//   stream --frame-->  counts, model --get, on-->  timeline.js
//          --tables--> tables.js
//          --alive-->  nothing changes; a stream that says nothing for 15 s is broken
//
// A hidden tab closes its stream, so that nothing is read for a page that nobody sees.

import timeline from "./timeline.js";
import { makeTables, span } from "./tables.js";
import { makeActions } from "./actions.js";

const SILENCE_MS = 15e3, AGAIN_MS = 1000;
const number = new Intl.NumberFormat("en");
const find = (id) => document.getElementById(id);

// The server's clock, as in timeline.js: of all frames, the one that arrived fastest tells it best.
let offset = null;
function setClock(now) {
  const seen = now - performance.now();
  offset = offset === null || Math.abs(seen - offset) > 1000 ? seen : Math.max(seen, offset - .5);
}
const now = () => performance.now() + (offset ?? Date.now() - performance.now());

// What timeline.js takes for its widget. It sends signs of life, which nobody needs here: the open stream is one.
const listeners = new Map();
const model = {
  values: {},
  get(name) { return this.values[name]; },
  set(name, value) {
    this.values[name] = value;
    for (const each of listeners.get(`change:${name}`) ?? []) each();
  },
  on(event, listener) { listeners.set(event, (listeners.get(event) ?? new Set()).add(listener)); },
  off(event, listener) { listeners.get(event)?.delete(listener); },
  send() {},
};

let frame = null;

function tell(state, text) {
  const line = find("state");
  if (line.dataset.state !== state || line.textContent !== text) {
    line.dataset.state = state;
    line.textContent = text;
  }
  document.body.classList.toggle("stale", state !== "live");
}

function showFrame(next) {
  frame = next;
  if (!frame.note) setClock(frame.now);
  find("title").textContent = document.title = frame.title;
  for (const [name, count] of Object.entries(frame.counts)) setText(`[data-count=${name}]`, number.format(count));
  tell(frame.note ? "trouble" : "live", frame.note ? sentence(frame.note) : "Live");
  model.set("frame", inPicture(frame));
}

// The page has room for the whole title above; in a narrow window, the picture has none.
function inPicture(frame) { return { ...frame, title: frame.title.split(" on ")[0] }; }

function sentence(text) { return text.charAt(0).toUpperCase() + text.slice(1); }

function setText(selector, text) {
  const place = document.querySelector(selector);
  if (place && place.textContent !== text) place.textContent = text;
}

const actions = document.body.dataset.actions === "on" ? makeActions() : null;
const tables = makeTables(now, actions);

function showTables(next) {
  setText("[data-count=lateness]", next.lateness > 0 ? span(next.lateness * 1e3) : "–");
  tables.show(next, frame?.counts ?? {});
}

// The stream. A browser asks for it again by itself after most failures, but not after a reply that is no stream.
let stream = null, heard = 0, again = 0;

function open() {
  clearTimeout(again);
  stream?.close();
  heard = performance.now();
  stream = new EventSource("stream");
  const on = (kind, show) => stream.addEventListener(kind, ({ data }) => { heard = performance.now(); show(data); });
  on("frame", (data) => showFrame(JSON.parse(data)));
  on("tables", (data) => showTables(JSON.parse(data)));
  on("alive", () => {});
  stream.addEventListener("error", lose);
}

function lose() {
  const text = "No connection to the server of this page; trying again";
  tell("lost", text);
  if (frame && !frame.note) model.set("frame", { ...inPicture(frame), now: now(), note: "no connection", state: "away" });
  clearTimeout(again);
  if (stream?.readyState !== EventSource.CONNECTING) again = setTimeout(openOrAsk, AGAIN_MS);
}

// The server replied with something else than a stream: perhaps it wants another token than before.
async function openOrAsk() {
  const status = await fetch("./", { method: "HEAD" }).then((reply) => reply.status, () => 0);
  if (status === 401) tell("lost", "This page needs a token now: open the address that the server has printed");
  else if (stream) open();
}

function follow() {
  if (document.visibilityState === "visible") {
    if (!stream) open();
  } else {
    clearTimeout(again);
    stream?.close();
    stream = null;
  }
}

setInterval(() => {
  if (stream && performance.now() - heard > SILENCE_MS) {
    lose();
    open();
  }
}, 1000);
document.addEventListener("visibilitychange", follow);
window.addEventListener("pagehide", () => { stream?.close(); stream = null; });
window.addEventListener("pageshow", follow);
timeline.render({ model, el: find("timeline") });
follow();
