// The rows of the tables. Keys, data and reasons are text: they only ever become the textContent of an element.

const SECOND = 1e3, MINUTE = 60e3, HOUR = 3600e3, DAY = 86400e3;
const number = new Intl.NumberFormat("en");
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

// A length of time in ms, with a unit.
export function span(ms) {
  const size = Math.abs(ms);
  if (size < SECOND) return `${Math.round(size)} ms`;
  for (const [unit, name, next] of [[SECOND, "s", MINUTE], [MINUTE, "min", HOUR], [HOUR, "h", DAY], [DAY, "d", Infinity]])
    if (size < next) return `${size < 10 * unit ? (size / unit).toFixed(1) : number.format(Math.round(size / unit))} ${name}`;
}

function moment(at, now) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "";
  return Math.abs(at - now) < DAY / 2 ? clock.format(date) : moments.format(date);
}

const FRESH = 1.5 * SECOND;  // the tables are read once a second: a key that fell due since may be gone
const DUE = (at, now) => at > now ? `in ${span(at - now)}` : now - at < FRESH ? "due" : `${span(now - at)} late`;
const LEASE = (at, now) => at > now ? `in ${span(at - now)}` : `ended ${span(now - at)} ago`;
const AGO = (at, now) => `${span(now - at)} ago`;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function setText(place, text) { if (place.textContent !== text) place.textContent = text; }

// A table whose rows are kept while their keys stay: a button that has the focus keeps it.
//
//   columns  what each column shows: [name of the value, words of a moment or null]
//   verbs    the actions on a row
class Table {
  constructor(id, columns, verbs, now, actions) {
    this.section = document.getElementById(id);
    this.body = this.section.querySelector("tbody");
    this.none = this.section.querySelector(".none");
    this.emptyText = this.none?.textContent;
    this.headings = [...this.section.querySelectorAll("th")].map((each) => each.textContent);
    this.columns = columns;
    this.verbs = actions ? verbs : [];
    this.now = now;
    this.actions = actions;
    this.rows = new Map();
    if (this.verbs.length) {
      const heading = element("th", "", "Actions");
      heading.scope = "col";
      this.section.querySelector("thead tr").append(heading);
    }
    // CSS shows rows as blocks where the window is narrow, and some browsers then forget that they are a table.
    this.section.querySelector("table").setAttribute("role", "table");
    for (const each of this.section.querySelectorAll("thead, tbody")) each.setAttribute("role", "rowgroup");
    for (const each of this.section.querySelectorAll("tr")) each.setAttribute("role", "row");
    for (const each of this.section.querySelectorAll("th")) each.setAttribute("role", "columnheader");
  }

  // Words in place of rows say why there are none.
  show(found, total) {
    const values = typeof found === "string" ? [] : found;
    if (this.none) setText(this.none, found === values ? this.emptyText : found);
    const rows = new Map(), focused = this.body.contains(document.activeElement);
    values.forEach((value, place) => {
      const id = value.key ?? place;  // a number is no key
      const row = this.rows.get(id) ?? this.make(value);
      rows.set(id, row);
      this.fill(row, value);
      if (this.body.children[place] !== row.line) this.body.insertBefore(row.line, this.body.children[place] ?? null);
    });
    for (const [id, row] of this.rows) if (!rows.has(id)) row.line.remove();
    this.rows = rows;
    if (focused && !this.body.contains(document.activeElement)) this.focusHeading();
    this.section.classList.toggle("empty", !values.length);
    const more = this.section.querySelector(".more");
    if (total !== undefined) setText(more, found === values && total > values.length ? this.left(values.length, total) : "");
    this.tick();
  }

  left(shown, total) {
    return shown ? `${number.format(total - shown)} more` : `${number.format(total)}: too many to find the oldest`;
  }

  focusHeading() {
    const heading = this.section.querySelector("h2");
    heading.tabIndex = -1;
    heading.focus();
  }

  make(value) {
    const line = element("tr"), cells = this.columns.map(([name], place) => {
      const cell = element("td", name);
      cell.setAttribute("role", "cell");
      cell.dataset.heading = this.headings[place];
      line.append(cell);
      return cell;
    });
    line.setAttribute("role", "row");
    const row = { line, cells, value };
    if (this.verbs.length) {
      const cell = element("td", "verbs");
      cell.setAttribute("role", "cell");
      for (const verb of value.key === null ? [] : this.verbs) {
        const button = element("button", "", verb);
        button.type = "button";
        button.setAttribute("aria-label", `${verb} ${value.shown}`);
        button.addEventListener("click", () => this.actions.ask(verb, row.value));
        cell.append(button);
      }
      line.append(cell);
    }
    return row;
  }

  fill(row, value) {
    row.value = value;
    this.columns.forEach(([name, words], place) => {
      const cell = row.cells[place];
      if (words) {
        if (!cell.firstChild) cell.append(element("span", "away"), " ", element("time", "faint"));
        return;
      }
      setText(cell, name === "reason" ? `${value.reason} (${attempts(value.attempts)})` : value[name]);
    });
  }

  // Moments move on between two readings.
  tick() {
    const now = this.now();
    for (const { cells, value } of this.rows.values()) {
      this.columns.forEach(([name, words], place) => {
        if (!words) return;
        const [away, time] = cells[place].children, at = value[name];
        setText(away, words(at, now));
        setText(time, moment(at, now));
        cells[place].classList.toggle("late", words !== AGO && now - at >= FRESH);
      });
    }
  }
}

function attempts(count) { return `${number.format(count)} attempt${count === 1 ? "" : "s"}`; }

// All tables of the page. `now` returns epoch ms on the server's clock; `actions` is null if none are allowed.
export function makeTables(now, actions) {
  const waiting = [["shown", null], ["at", DUE], ["data", null]];
  const next = new Table("next", waiting, ["reschedule", "cancel"], now, actions);
  const out = new Table("out", [["shown", null], ["until", LEASE]], ["cancel"], now, actions);
  const letters = [["shown", null], ["at", AGO], ["reason", null], ["data", null]];
  const dead = new Table("dead", letters, ["revive", "drop"], now, actions);
  const found = new Table("found", waiting, ["reschedule", "cancel"], now, actions);
  const all = [next, out, dead, found], form = found.section.querySelector("form");
  const told = found.section.querySelector(".more");

  async function search() {
    const match = form.elements.match.value;
    told.textContent = "Searching…";
    try {
      const reply = await fetch(`search?${new URLSearchParams({ match })}`);
      const { rows, said } = reply.headers.get("content-type") === "application/json" ? await reply.json() : { said: await reply.text() };
      if (rows) found.show(rows);
      told.textContent = said;
    } catch {
      told.textContent = "The search did not reach the server of this page.";
    }
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  actions?.afterwards(() => { if (found.rows.size) search(); });
  setInterval(() => all.forEach((each) => each.tick()), 500);
  all.forEach((each) => each.show("Not read yet."));

  return {
    show(values, { scheduled, claimed, dead: died }) {
      next.show(values.next, scheduled);
      out.show(values.out, claimed);
      dead.show(values.dead, died);
    },
  };
}
