// The page: signs in, follows the live feed of calls, and polls for the state and the totals.

import { Calls } from "./calls.js";
import { Drawer } from "./drawer.js";
import { find } from "./dom.js";
import { count } from "./format.js";
import { showEmpty, showPolicy, showState } from "./panels.js";
import { drawTotals, widthOf } from "./plots.js";
import { Follower, SignedOut, ask, post } from "./server.js";
import { showSessions } from "./sessions.js";
import { Trees } from "./trees.js";

const STATE_EVERY = 5000;
const SOON = 1000;
const TREES_EVERY = 4000;
const TOTALS_EVERY = { hour: 4000, day: 20000, week: 60000 };
const CHECK_AFTER = 15000; // Calls in progress for longer are looked up: a busy feed may not report their end.
const ANNOUNCE_EVERY = 10000;
const DENIALS = 20;

const page = { state: null, calls: null, drawer: null, denials: [], ended: 0, denied: 0, totalsDue: null, stateDue: null, trees: null, treesDue: null, treesAt: Infinity };

async function begin() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) {
    history.replaceState(null, "", location.pathname); // removes the code from the address and the history
    const error = await post("/console/sign-in", { key: code });
    if (error) return showSignIn(error);
  }
  try {
    await openConsole();
  } catch (error) {
    if (error instanceof SignedOut) return showSignIn("");
    showSignIn("Wirekey does not respond. This page retries automatically.");
    setTimeout(begin, 3000);
  }
}

function showSignIn(message) {
  follower.stop();
  clearTimeout(page.totalsDue);
  clearTimeout(page.treesDue);
  page.treesAt = Infinity;
  find("console").hidden = true;
  find("sign-in-view").hidden = false;
  find("sign-in-error").textContent = message;
}

async function openConsole() {
  page.state = await ask("/console/state");
  if (!page.calls) {
    page.drawer = new Drawer(page.state.fields);
    page.calls = new Calls(page.state.fields.map((field) => field.name), (event, after) => page.drawer.open(event, after));
    page.trees = new Trees(listCalls);
    new MutationObserver(() => showEmpty(page.state)).observe(find("no-calls"), { attributeFilter: ["data-because"] });
  }
  find("sign-in-view").hidden = true;
  find("console").hidden = false;
  showAll(page.state);
  await loadDenials();
  follower.start();
  refreshTotals();
  refreshTrees();
}

function showAll(state) {
  showState(state);
  find("in-progress").textContent = count(state.in_progress);
  showSessions(state.sessions, state.now, openSession);
  showPolicy(state.policy, page.denials, (event) => page.drawer.open(event));
}

const asEvent = (row) => Object.fromEntries(page.calls.names.map((name, index) => [name, row[index]]));

async function loadDenials() {
  page.denials = (await ask("/console/calls?denied=1")).rows.map(asEvent);
  showPolicy(page.state.policy, page.denials, (event) => page.drawer.open(event));
}

const follower = new Follower({
  async start() {
    // The feed starts now. Earlier calls come from the audit store.
    const { rows } = await askOr("/console/calls", { rows: [] });
    page.calls.add(rows);
  },
  batch({ rows, more, in_progress }) {
    page.calls.add(rows, more);
    find("in-progress").textContent = count(in_progress);
    page.ended += more;
    let denials = 0;
    for (const event of rows.map(asEvent)) {
      page.drawer.follow(event);
      if (event.outcome) page.ended += 1;
      if (event.outcome !== "denied") continue;
      denials += 1;
      page.denials = [event, ...page.denials.filter((other) => other.id !== event.id)].slice(0, DENIALS);
    }
    page.denied += denials;
    if (rows.map(asEvent).some(ofSession)) refreshSoon();
    if (rows.map(asEvent).some((event) => event.labels || event.labels_unverified)) refreshTrees(SOON);
    if (denials) showPolicy(page.state.policy, page.denials, (event) => page.drawer.open(event));
  },
  state: showLink,
  signedOut: () => showSignIn("You were signed out."),
});

let link = "lost";

function showLink(state) {
  link = state;
  const paused = page.calls?.paused;
  find("link").dataset.state = link === "live" && paused ? "paused" : link;
  find("link-text").textContent = link === "lost" ? "connection lost, retrying" : paused ? "paused" : "live";
}

document.addEventListener("paused", () => showLink(link));

async function askOr(path, fallback) {
  try {
    return await ask(path);
  } catch (error) {
    if (error instanceof SignedOut) showSignIn("You were signed out.");
    return fallback;
  }
}

// Polling.

const visible = () => !document.hidden && !find("console").hidden;

async function refreshState() {
  clearTimeout(page.stateDue);
  page.stateDue = null;
  const state = visible() ? await askOr("/console/state", null) : null;
  if (state) showAll((page.state = state));
}

setInterval(refreshState, STATE_EVERY);

// Sessions have no events of their own between the first and the last, but their responses have.
const ofSession = (event) => event.parent_id !== null || page.state.sessions.rows.some((session) => session.id === event.id);

function refreshSoon() {
  page.stateDue ??= setTimeout(refreshState, SOON);
}

async function openSession(id) {
  const { rows } = await askOr(`/console/calls?ids=${id}`, { rows: [] });
  if (rows.length) page.drawer.open(asEvent(rows[0]));
}

// Trees have no events of their own, but their calls have. wait: milliseconds until they are read again.
function refreshTrees(wait = 0) {
  if (performance.now() + wait >= page.treesAt) return;
  clearTimeout(page.treesDue);
  page.treesAt = performance.now() + wait;
  page.treesDue = setTimeout(async () => {
    const found = visible() ? await askOr("/console/trees", null) : null;
    if (found?.readable) page.trees.show(found);
    page.treesAt = Infinity;
    if (!find("console").hidden) refreshTrees(TREES_EVERY);
  }, wait);
}

async function listCalls(agent, labels) {
  const query = new URLSearchParams(agent === null ? labels : { ...labels, agent });
  const { rows } = await askOr(`/console/calls?${query}`, { rows: [] });
  const [name, value] = Object.entries(labels).at(-1);
  page.calls.choose({ agent: agent ?? "unknown", label: `${name}: ${value}` });
  page.calls.add(rows);
  page.calls.render();
  find("calls").scrollIntoView();
  find("calls").focus();
}

setInterval(async () => {
  const ids = visible() ? page.calls.underWay(CHECK_AFTER).slice(0, 50) : [];
  if (!ids.length) return;
  const { rows } = await askOr(`/console/calls?ids=${ids.join(",")}`, { rows: null });
  if (rows) page.calls.add(rows);
}, CHECK_AFTER);

setInterval(() => {
  if (!page.ended || !visible()) return;
  const denied = page.denied ? `, ${count(page.denied)} denied` : "";
  find("announcement").textContent = `${count(page.ended)} call${page.ended === 1 ? "" : "s"} ended in the last ten seconds${denied}.`;
  page.ended = page.denied = 0;
}, ANNOUNCE_EVERY);

const selected = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
let drawn = "";

async function refreshTotals() {
  clearTimeout(page.totalsDue);
  const [period, by] = [selected("period"), selected("by")];
  if (visible()) {
    const totals = await askOr(`/console/totals?period=${period}&by=${by}`, null);
    const { now, ...content } = totals ?? {};
    const text = JSON.stringify(content);
    if (totals?.readable && text !== drawn && period === selected("period") && by === selected("by")) {
      drawn = text;
      drawTotals(totals);
    }
  }
  clearTimeout(page.totalsDue);
  if (!find("console").hidden) page.totalsDue = setTimeout(refreshTotals, TOTALS_EVERY[period]);
}

let lastWidth = 0;

addEventListener("resize", () => {
  const latest = widthOf(find("plots"));
  if (latest === lastWidth) return;
  lastWidth = latest;
  drawn = "";
  refreshTotals();
});

for (const name of ["period", "by"]) find(name).addEventListener("change", refreshTotals);

find("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const error = await post("/console/sign-in", { key: find("key").value });
  find("sign-in-error").textContent = error ?? "";
  if (error) return;
  find("key").value = "";
  begin();
});

find("sign-out").addEventListener("click", async () => {
  await post("/console/sign-out", {});
  showSignIn("");
});

begin();
