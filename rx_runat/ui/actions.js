// Asks before an action, sends it, and says what happened.

const number = new Intl.NumberFormat("en");
const find = (id) => document.getElementById(id);
const CONSEQUENCES = {
  cancel: () => "It will not come, and its data is gone. If it is out, its lease is revoked: the work goes on, but its ack will fail.",
  reschedule: () => "It keeps its data.",
  revive: () => "It is due at once, with its data, and its attempts count from 1 again.",
  drop: ({ attempts }) => `The letter, its reason and its data are gone. It had ${number.format(attempts)} attempt${attempts === 1 ? "" : "s"}.`,
};

export function makeActions() {
  const dialog = find("ask"), problem = find("problem"), when = find("when"), said = find("said");
  const listeners = [];
  let asked = null, fading = 0;

  function say(text, failed) {
    said.hidden = false;
    said.classList.toggle("problem", failed);
    said.textContent = text;
    clearTimeout(fading);
    fading = setTimeout(() => { said.hidden = true; }, 20e3);
  }

  function ask(verb, row) {
    asked = { verb, row };
    find("question").textContent = `${verb.charAt(0).toUpperCase()}${verb.slice(1)} ${row.shown}?`;
    find("consequence").textContent = CONSEQUENCES[verb](row);
    find("when-line").hidden = verb !== "reschedule";
    when.required = verb === "reschedule";
    problem.hidden = true;
    find("yes").textContent = `Yes, ${verb}`;
    find("yes").disabled = false;
    dialog.showModal();
    (verb === "reschedule" ? when : find("no")).focus();
  }

  async function act() {
    const answered = asked, { verb, row } = answered;
    const stands = () => dialog.open && asked === answered;  // Escape, and perhaps another question, may be faster
    find("yes").disabled = true;
    try {
      const reply = await fetch("act", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ action: verb, key: row.key, ...(verb === "reschedule" ? { run_at: when.value.trim() } : {}) }),
      });
      const isJson = reply.headers.get("content-type") === "application/json";
      const text = isJson ? (await reply.json()).said : await reply.text();
      if (reply.status === 400 && stands()) {  // what was typed is wrong: the dialog stays, to mend it
        problem.textContent = text;
        problem.hidden = false;
        find("yes").disabled = false;
        return;
      }
      say(text, !reply.ok);
    } catch {
      say(`The request to ${verb} ${row.shown} did not reach the server of this page, or its reply was lost.`, true);
    }
    if (stands()) dialog.close();
    listeners.forEach((each) => each());
  }

  find("no").addEventListener("click", () => dialog.close());
  dialog.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); act(); });
  return { ask, afterwards(listener) { listeners.push(listener); } };
}
