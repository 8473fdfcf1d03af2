// The table of calls: the latest calls, the filters, and a row for each call that matches them.
//
// All work is bounded: at most KEPT calls are kept and SHOWN rows are in the page, however many calls arrive.

import { el, find } from "./dom.js";
import { UNKNOWN, count, fractionOf, known, money, span, timeOf, words } from "./format.js";

const KEPT = 2000;
const SHOWN = 500;
const OPTIONS = 200;
const ANIMATED = 10; // More new rows than this in one batch are not animated: nobody could follow them.
const USUAL_ENDS = new Set(["stop", "STOP", "end_turn"]);
const FILTERS = ["agent", "model", "provider", "outcome", "label"];

export class Calls {
  // names: the names of an event's fields, in order. open(event): shows the details of one call.
  constructor(names, open) {
    this.names = names;
    this.open = open;
    this.list = []; // newest first
    this.known = new Map(); // id → event
    this.rows = new Map(); // id → row
    this.options = Object.fromEntries(FILTERS.map((name) => [name, new Set()]));
    this.paused = false;
    this.missed = 0;
    this.skipped = 0;
    this.body = find("rows");
    this.form = find("filters");
    this.form.addEventListener("input", () => this.filter());
    this.form.addEventListener("reset", () => setTimeout(() => this.filter()));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.body.addEventListener("click", (event) => this.onClick(event));
    this.body.addEventListener("keydown", (event) => this.onKey(event));
    find("pause").addEventListener("click", () => this.pause(!this.paused));
    this.filters = this.readFilters();
  }

  // Add or update calls. rows: the field values of their events. more: number of ended calls that are not among them.
  add(rows, more = 0) {
    let fresh = 0;
    const changed = [];
    for (const row of rows) {
      const event = Object.fromEntries(this.names.map((name, index) => [name, row[index]]));
      const previous = this.known.get(event.id);
      if (previous?.outcome && !event.outcome) continue; // an outdated state of the call
      if (!previous) {
        fresh += 1;
        this.list.splice(this.positionOf(event.id), 0, event.id);
      }
      this.known.set(event.id, event);
      this.addOptions(event);
      changed.push(event);
    }
    this.forget();
    this.skipped += more;
    if (this.paused) this.missed += fresh + more;
    else if (changed.length > SHOWN / 2) this.render();
    else for (const event of changed) if (this.known.has(event.id)) this.show(event, changed.length <= ANIMATED);
    this.trim();
    this.showCounts();
  }

  // Forget the oldest calls if there are too many; those that the filters select only if there are no others.
  forget() {
    const excess = this.list.length - KEPT;
    if (excess <= 0) return;
    const others = this.filtered ? this.list.filter((id) => !this.matches(this.known.get(id))) : [];
    const gone = new Set(others.slice(-excess));
    this.list = this.list.filter((id) => !gone.has(id));
    for (const id of [...gone, ...this.list.splice(KEPT)]) {
      this.known.delete(id);
      this.removeRow(id);
    }
  }

  // The ids of calls that began more than `olderThan` milliseconds ago and have not ended.
  underWay(olderThan) {
    const before = Date.now() - olderThan;
    return this.list.filter((id) => !this.known.get(id).outcome && Date.parse(this.known.get(id).time) < before);
  }

  // The index at which an id belongs in the list, by binary search.
  positionOf(id) {
    let [low, high] = [0, this.list.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.list[middle] > id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // Filters.

  readFilters() {
    const data = new FormData(this.form);
    const selected = Object.fromEntries(FILTERS.map((name) => [name, data.get(name)]));
    return { ...selected, text: data.get("text").trim().toLowerCase() };
  }

  matches(event) {
    const { agent, model, provider, outcome, label, text } = this.filters;
    if (agent && agentOf(event) !== agent) return false;
    if (model && event.model !== model && event.requested_model !== model) return false;
    if (provider && event.provider !== provider) return false;
    if (outcome && outcomeOf(event) !== outcome) return false;
    if (label && !labelsOf(event).includes(label)) return false;
    return !text || Object.values(event).some((value) => typeof value === "string" && value.toLowerCase().includes(text));
  }

  // Select these values of filters, and nothing else.
  choose(values) {
    this.form.reset();
    for (const [name, value] of Object.entries(values)) {
      this.addOption(name, value);
      this.form.elements[name].value = value;
    }
    this.filter();
  }

  addOptions(event) {
    const found = { agent: [agentOf(event)], model: [event.model, event.requested_model], provider: [event.provider], outcome: [outcomeOf(event)], label: labelsOf(event) };
    for (const [name, values] of Object.entries(found)) {
      for (const value of values) {
        if (value && this.options[name].size < OPTIONS) this.addOption(name, value);
      }
    }
  }

  addOption(name, value) {
    if (this.options[name].has(value)) return;
    this.options[name].add(value);
    this.form.elements[name].append(el("option", { value }, name === "label" ? value : words(value)));
  }

  filter() {
    this.filters = this.readFilters();
    this.render();
  }

  get filtered() {
    return Object.values(this.filters).some(Boolean);
  }

  pause(paused) {
    this.paused = paused;
    if (!paused) {
      this.missed = 0;
      this.render();
    }
    find("pause").setAttribute("aria-pressed", String(paused));
    this.showCounts();
    document.dispatchEvent(new CustomEvent("paused", { detail: paused }));
  }

  // Rows.

  render() {
    this.rows.clear();
    const found = this.list.map((id) => this.known.get(id)).filter((event) => this.matches(event)).slice(0, SHOWN);
    this.body.replaceChildren(...found.map((event) => this.row(event)));
    this.showCounts();
  }

  show(event, isNew) {
    const row = this.rows.get(event.id);
    if (!this.matches(event)) {
      this.removeRow(event.id);
    } else if (row) {
      // The first cell stays: the focus may be in it.
      while (row.children.length > 1) row.lastChild.remove();
      row.append(...cells(event));
    } else {
      let before = this.body.firstChild;
      while (before && before.dataset.id > event.id) before = before.nextSibling;
      this.body.insertBefore(this.row(event, isNew), before);
    }
  }

  row(event, isNew = false) {
    const label = `${timeOf(event.time)}${fractionOf(event.time)}, ${agentOf(event)}, ${event.model ?? event.target}: show all fields`;
    const time = [timeOf(event.time), el("span", { class: "fraction" }, fractionOf(event.time))];
    const row = el(
      "tr",
      { "data-id": event.id, class: isNew ? "new" : null },
      el("td", {}, el("button", { type: "button", "aria-label": label }, time)),
      cells(event),
    );
    row.addEventListener("animationend", () => row.classList.remove("new"), { once: true });
    this.rows.set(event.id, row);
    return row;
  }

  // The row may have been added or removed since the call was opened.
  focus(id) {
    this.rows.get(id)?.querySelector("button").focus();
  }

  removeRow(id) {
    this.rows.get(id)?.remove();
    this.rows.delete(id);
  }

  trim() {
    // Remove the last element itself, known or not, so that each step makes the table shorter.
    while (this.body.children.length > SHOWN) {
      const last = this.body.lastElementChild;
      this.rows.delete(last.dataset.id);
      last.remove();
    }
  }

  showCounts() {
    const pause = find("pause");
    pause.textContent = this.paused ? (this.missed ? `Resume, ${count(this.missed)} new` : "Resume") : "Pause";
    const more = find("more");
    more.hidden = !this.skipped;
    more.textContent = `… and ${count(this.skipped)} more calls that arrived too fast to be shown. The totals include them.`;
    find("no-calls").hidden = this.body.children.length > 0;
    find("table").hidden = this.body.children.length === 0;
    const because = this.filtered && this.list.length ? "filters" : "none";
    if (find("no-calls").dataset.because !== because) find("no-calls").dataset.because = because;
  }

  onClick(event) {
    const id = event.target.closest("tr")?.dataset.id;
    if (id && !String(getSelection())) this.open(this.known.get(id), () => this.focus(id));
  }

  onKey(event) {
    const step = { ArrowDown: "nextSibling", ArrowUp: "previousSibling" }[event.key];
    const next = step && event.target.closest("tr")?.[step];
    if (!next) return;
    event.preventDefault();
    next.querySelector("button").focus();
  }
}

export const agentOf = (event) => event.agent_id ?? "unknown";
export const outcomeOf = (event) => event.outcome ?? "in_progress";

// The labels of a call as texts such as `team: search`. Those that the client wrote itself are marked.
export function labelsOf(event) {
  return [
    ...membersOf(event.labels).map(([name, value]) => `${name}: ${value}`),
    ...membersOf(event.labels_unverified).map(([name, value]) => `${name}: ${value} (unverified)`),
  ];
}

// The members of an object of texts in JSON. The audit log may have been changed by somebody else.
function membersOf(text) {
  if (!text) return [];
  try {
    const found = JSON.parse(text);
    return found && typeof found === "object" ? Object.entries(found).filter(([, value]) => typeof value === "string") : [];
  } catch {
    return [];
  }
}

export function toneOf(outcome) {
  if (outcome === "completed") return "good";
  return outcome === "in_progress" || outcome === "declined" ? "soft" : outcome === "denied" || outcome === "client_cancelled" ? "warn" : "bad";
}

function cells(event) {
  const outcome = outcomeOf(event);
  const requested = event.requested_model;
  const model = event.model ?? requested;
  const details = [event.provider, event.operation ?? `${event.method} ${event.path}`, requested && requested !== model ? `requested: ${requested}` : null];
  const reason = event.policy_reason ?? (USUAL_ENDS.has(event.finish_reason) ? null : event.finish_reason);
  const tokens = known(event.input_tokens) || known(event.output_tokens) ? `${count(event.input_tokens)} → ${count(event.output_tokens)}` : UNKNOWN;
  const labels = labelsOf(event).join(" · ");
  return [
    el("td", {}, agentOf(event), event.agent_role ? el("span", { class: "sub" }, event.agent_role) : null,
      labels ? el("span", { class: "sub", title: labels }, labels) : null),
    el("td", {}, model ?? UNKNOWN, el("span", { class: "sub narrow" }, agentOf(event)), el("span", { class: "sub" }, details.filter(Boolean).join(" · "))),
    el("td", {}, el("span", { class: toneOf(outcome) }, words(outcome)), known(event.status) ? ` ${event.status}` : null,
      reason ? el("span", { class: "sub", title: reason }, reason) : null),
    el("td", { class: "number wide" }, tokens),
    el("td", { class: "number wide" }, money(event.cost_usd)),
    el("td", { class: "number wide" }, span(event.ttfb_ms)),
    el("td", { class: "number" }, span(event.duration_ms)),
  ];
}
