// The table of calls: what is known of the last ones, which of them pass the filters, and their rows.

import { el, find } from "./dom.js";
import { UNKNOWN, count, fractionOf, known, money, span, timeOf, words } from "./format.js";

const KEPT = 2000;
const SHOWN = 500;
const OPTIONS = 200;
const CALM = 10; // Where more come at once, the eye could not follow, and a browser would be busy with nothing else.
const USUAL_ENDS = new Set(["stop", "STOP", "end_turn"]);
const FILTERS = ["agent", "model", "provider", "outcome"];

export class Calls {
  // names: those of an event's fields in their order. open(event) shows the whole of one.
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
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("keydown", (event) => this.moved(event));
    find("pause").addEventListener("click", () => this.pause(!this.paused));
    this.wanted = this.chosen();
  }

  // Take what is new of some calls, given as the values of their events. more: ended, and not among them.
  take(rows, more = 0) {
    let fresh = 0;
    const changed = [];
    for (const row of rows) {
      const event = Object.fromEntries(this.names.map((name, index) => [name, row[index]]));
      const former = this.known.get(event.id);
      if (former?.outcome && !event.outcome) continue; // an older look at it
      if (!former) {
        fresh += 1;
        this.list.splice(this.placeOf(event.id), 0, event.id);
      }
      this.known.set(event.id, event);
      this.offer(event);
      changed.push(event);
    }
    for (const id of this.list.splice(KEPT)) {
      this.known.delete(id);
      this.drop(id);
    }
    this.skipped += more;
    if (this.paused) this.missed += fresh + more;
    else if (changed.length > SHOWN / 2) this.render();
    else changed.forEach((event) => this.show(event, changed.length <= CALM));
    this.trim();
    this.say();
  }

  underWay(olderThan) {
    const before = Date.now() - olderThan;
    return this.list.filter((id) => !this.known.get(id).outcome && Date.parse(this.known.get(id).time) < before);
  }

  placeOf(id) {
    let place = 0;
    while (place < this.list.length && this.list[place] > id) place += 1;
    return place;
  }

  // Filters.

  chosen() {
    const data = new FormData(this.form);
    const wanted = Object.fromEntries(FILTERS.map((name) => [name, data.get(name)]));
    return { ...wanted, text: data.get("text").trim().toLowerCase() };
  }

  passes(event) {
    const { agent, model, provider, outcome, text } = this.wanted;
    if (agent && agentOf(event) !== agent) return false;
    if (model && event.model !== model && event.requested_model !== model) return false;
    if (provider && event.provider !== provider) return false;
    if (outcome && outcomeOf(event) !== outcome) return false;
    return !text || Object.values(event).some((value) => typeof value === "string" && value.toLowerCase().includes(text));
  }

  offer(event) {
    const found = { agent: [agentOf(event)], model: [event.model, event.requested_model], provider: [event.provider], outcome: [outcomeOf(event)] };
    for (const [name, values] of Object.entries(found)) {
      for (const value of values) {
        const options = this.options[name];
        if (!value || options.has(value) || options.size >= OPTIONS) continue;
        options.add(value);
        this.form.elements[name].append(el("option", { value }, words(value)));
      }
    }
  }

  filter() {
    this.wanted = this.chosen();
    this.render();
  }

  get filtered() {
    return Object.values(this.wanted).some(Boolean);
  }

  pause(paused) {
    this.paused = paused;
    if (!paused) {
      this.missed = 0;
      this.render();
    }
    find("pause").setAttribute("aria-pressed", String(paused));
    this.say();
    document.dispatchEvent(new CustomEvent("paused", { detail: paused }));
  }

  // Rows.

  render() {
    this.rows.clear();
    const found = this.list.map((id) => this.known.get(id)).filter((event) => this.passes(event)).slice(0, SHOWN);
    this.body.replaceChildren(...found.map((event) => this.row(event)));
    this.say();
  }

  show(event, isNew) {
    const row = this.rows.get(event.id);
    if (!this.passes(event)) {
      this.drop(event.id);
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
    const label = `${timeOf(event.time)}${fractionOf(event.time)}, ${agentOf(event)}, ${event.model ?? event.target}: open the whole event`;
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

  // The call may have come, or gone, since its row was opened.
  focus(id) {
    this.rows.get(id)?.querySelector("button").focus();
  }

  drop(id) {
    this.rows.get(id)?.remove();
    this.rows.delete(id);
  }

  trim() {
    while (this.body.children.length > SHOWN) this.drop(this.body.lastChild.dataset.id);
  }

  say() {
    const pause = find("pause");
    pause.textContent = this.paused ? (this.missed ? `Resume, ${count(this.missed)} new` : "Resume") : "Pause";
    const more = find("more");
    more.hidden = !this.skipped;
    more.textContent = `… and ${count(this.skipped)} more that came too fast to be shown. Totals count them all.`;
    find("no-calls").hidden = this.body.children.length > 0;
    find("table").hidden = this.body.children.length === 0;
    find("no-calls").dataset.because = this.filtered && this.list.length ? "filters" : "none";
  }

  clicked(event) {
    const id = event.target.closest("tr")?.dataset.id;
    if (id && !String(getSelection())) this.open(this.known.get(id), () => this.focus(id));
  }

  moved(event) {
    const step = { ArrowDown: "nextSibling", ArrowUp: "previousSibling" }[event.key];
    const next = step && event.target.closest("tr")?.[step];
    if (!next) return;
    event.preventDefault();
    next.querySelector("button").focus();
  }
}

export const agentOf = (event) => event.agent_id ?? "unknown";
export const outcomeOf = (event) => event.outcome ?? "under_way";

export function toneOf(outcome) {
  if (outcome === "completed") return "good";
  return outcome === "under_way" ? "soft" : outcome === "denied" || outcome === "client_cancelled" ? "warn" : "bad";
}

function cells(event) {
  const outcome = outcomeOf(event);
  const asked = event.requested_model;
  const model = event.model ?? asked;
  const what = [event.provider, event.operation ?? `${event.method} ${event.path}`, asked && asked !== model ? `asked: ${asked}` : null];
  const reason = event.policy_reason ?? (USUAL_ENDS.has(event.finish_reason) ? null : event.finish_reason);
  const tokens = known(event.input_tokens) || known(event.output_tokens) ? `${count(event.input_tokens)} → ${count(event.output_tokens)}` : UNKNOWN;
  return [
    el("td", {}, agentOf(event), event.agent_role ? el("span", { class: "sub" }, event.agent_role) : null),
    el("td", {}, model ?? UNKNOWN, el("span", { class: "sub narrow" }, agentOf(event)), el("span", { class: "sub" }, what.filter(Boolean).join(" · "))),
    el("td", {}, el("span", { class: toneOf(outcome) }, words(outcome)), known(event.status) ? ` ${event.status}` : null,
      reason ? el("span", { class: "sub", title: reason }, reason) : null),
    el("td", { class: "number wide" }, tokens),
    el("td", { class: "number wide" }, money(event.cost_usd)),
    el("td", { class: "number wide" }, span(event.ttfb_ms)),
    el("td", { class: "number" }, span(event.duration_ms)),
  ];
}
