// Runs and sessions as trees: a run, its sessions, their sub-agents. A node lists its calls.

import { el, find } from "./dom.js";
import { UNKNOWN, count, known, money, remaining, short } from "./format.js";

const FIRST = 8; // Trees that are shown at first.
const MANY = 12; // A node with more nodes below it is closed at first.
const MARK = " (unverified)";
const KINDS = { run: "run", session: "session", sub_agent: "sub-agent" };
const TONES = { open: "good", spent: "bad", expired: "warn", ended: "soft" };

export class Trees {
  // list(agent, labels): shows the calls of an agent with these labels, such as { session: "a", sub_agent: "b" }.
  constructor(list) {
    this.list = list;
    this.switched = new Map(); // node → whether the user opened it
    this.all = false;
    this.trees = [];
    this.now = 0;
    find("more-trees").addEventListener("click", () => {
      this.all = !this.all;
      this.draw();
    });
  }

  show({ trees, now }) {
    [this.trees, this.now] = [trees, now];
    this.draw();
  }

  draw() {
    find("trees").hidden = !this.trees.length;
    const more = find("more-trees");
    more.hidden = this.trees.length <= FIRST;
    more.textContent = this.all ? "Show fewer" : `Show all ${count(this.trees.length)}`;
    const shown = this.all ? this.trees : this.trees.slice(0, FIRST);
    const [key, part] = focused();
    find("tree-rows").replaceChildren(...shown.flatMap((tree) => this.rows(tree, tree, {}, 0)));
    if (key) [...find("tree-rows").children].find((row) => row.dataset.key === key)?.querySelector(`[data-part=${part}]`)?.focus();
  }

  rows(node, tree, above, level) {
    const labels = { ...above, [node.label]: node.value };
    const key = JSON.stringify([tree.agent, labels]);
    const open = node.nodes.length > 0 && (this.switched.get(key) ?? node.nodes.length <= MANY);
    const row = this.row(node, tree, labels, level, key, open);
    return [row, ...(open ? node.nodes.flatMap((below) => this.rows(below, tree, labels, level + 1)) : [])];
  }

  row(node, tree, labels, level, key, open) {
    const run = level === 0 ? tree.run : null;
    const [name, marked] = node.value.endsWith(MARK) ? [node.value.slice(0, -MARK.length), true] : [node.value, false];
    const kind = KINDS[node.label];
    const state = stateOf(node, run, this.now);
    const said = `${kind} ${name}${marked ? ", unverified" : ""}, level ${level + 1}`;
    const details = [kind, level === 0 ? (tree.agent ?? "unknown") : null];
    const place = el("div", { class: "place" },
      node.nodes.length ? this.toggle(key, open, said) : el("span", { class: "leaf", "aria-hidden": "true" }),
      el("span", { class: "name" },
        el("button", { type: "button", class: "quiet mono", "data-part": "list", title: node.value, "aria-label": `${said}: list its calls`, on: { click: () => this.list(tree.agent, labels) } }, name),
        el("span", { class: "sub" }, el("span", { class: "kind" }, details.filter(Boolean).join(" · ")), marked ? el("span", { class: "tag", title: "The program wrote this label itself." }, "unverified") : null),
        el("span", { class: "sub narrow" }, state)));
    place.style.setProperty("--level", level);
    return el("tr", { "data-key": key }, el("td", {}, place),
      el("td", { class: "state" }, state.cloneNode(true)),
      callsOf(node, run, tree.is_cut),
      tokensOf(node, run),
      costOf(node, run),
      timeOf(node, run, this.now),
      modelsOf(node));
  }

  toggle(key, open, said) {
    const click = () => {
      this.switched.set(key, !open);
      this.draw();
    };
    return el("button", { type: "button", class: "quiet toggle", "data-part": "toggle", "aria-expanded": String(open), "aria-label": `${said}: what is below it`, on: { click } }, open ? "▾" : "▸");
  }
}

function focused() {
  const at = document.activeElement;
  return [at?.closest("#tree-rows tr")?.dataset.key, at?.dataset.part];
}

function stateOf(node, run, now) {
  const busy = node.in_progress ? `${count(node.in_progress)} in progress` : null;
  const quiet = known(node.last) ? `last call ${remaining(Math.max(0, now - node.last))} ago` : "no calls yet";
  if (!run) return el("span", { class: busy ? "good" : "soft" }, busy ?? quiet);
  return el("span", {}, el("span", { class: TONES[run.state] }, run.state), el("span", { class: "sub" }, busy ?? quiet));
}

// What is used of a limit, which may be null. Of a run, it is what its budget was charged.
function used(value, limit, text, kind, ...below) {
  const of = known(limit) ? el("span", { class: "sub" }, `of ${text(limit)}`) : null;
  const gauge = known(limit) ? el("progress", { max: 1, value: Math.min(1, value / limit), class: value >= limit ? "full" : null, "aria-hidden": "true" }) : null;
  return el("td", { class: kind }, text(value), of, gauge, below);
}

function callsOf(node, run, cut) {
  const refused = node.refused ? el("span", { class: "sub bad" }, `${count(node.refused)} refused`) : null;
  const failed = node.failed ? el("span", { class: "sub warn" }, `${count(node.failed)} failed`) : null;
  if (run) return used(run.calls, run.most_calls, count, "number", refused, failed);
  return el("td", { class: "number" }, `${cut ? "at least " : ""}${count(node.calls)}`, refused, failed);
}

function tokensOf(node, run) {
  if (run) return used(run.tokens, run.most_tokens, short, "number wide");
  const any = known(node.input_tokens) || known(node.output_tokens);
  return el("td", { class: "number wide" }, any ? `${short(node.input_tokens)} → ${short(node.output_tokens)}` : UNKNOWN);
}

function costOf(node, run) {
  return run ? used(run.spent_usd, run.budget_usd, money, "number") : el("td", { class: "number" }, money(node.cost_usd));
}

function timeOf(node, run, now) {
  if (!run) return el("td", { class: "number wide" }, known(node.first) ? remaining(node.last - node.first) : UNKNOWN);
  const begin = Date.parse(run.started) / 1000;
  const ends = run.ends_at ? Date.parse(run.ends_at) / 1000 : null;
  const until = run.ended_at ? Date.parse(run.ended_at) / 1000 : Math.min(now, ends ?? now);
  return used(Math.max(0, until - begin), ends && ends - begin, remaining, "number wide");
}

function modelsOf(node) {
  const more = node.more_models ? [` and ${count(node.more_models)} more`] : [];
  return el("td", { class: "wide", title: node.models.join(", ") }, node.models.length ? node.models.join(", ") : UNKNOWN, more);
}
