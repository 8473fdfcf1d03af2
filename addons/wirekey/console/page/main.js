// The page: signs in, then follows what becomes of calls and asks for the rest now and then.

import { Calls } from "./calls.js";
import { Drawer } from "./drawer.js";
import { find } from "./dom.js";
import { count } from "./format.js";
import { showEmpty, showPolicy, showState } from "./panels.js";
import { drawTotals, widthOf } from "./plots.js";
import { Follower, SignedOut, ask, post } from "./server.js";

const STATE_EVERY = 5000;
const TOTALS_EVERY = { hour: 4000, day: 20000, week: 60000 };
const LOOKS_AFTER = 15000; // Calls under way for longer are asked after: where many come, their end may go unsaid.
const SAYS_EVERY = 10000;
const DENIALS = 20;

const page = { state: null, calls: null, drawer: null, denials: [], ended: 0, denied: 0, totalsDue: null };

async function begin() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) {
    history.replaceState(null, "", location.pathname); // out of the address, and of the history
    const why = await post("/console/sign-in", { key: code });
    if (why) return showDoor(why);
  }
  try {
    await openHouse();
  } catch (error) {
    if (error instanceof SignedOut) return showDoor("");
    showDoor("Wirekey does not answer. This page tries again by itself.");
    setTimeout(begin, 3000);
  }
}

function showDoor(why) {
  follower.stop();
  clearTimeout(page.totalsDue);
  find("house").hidden = true;
  find("door").hidden = false;
  find("door-says").textContent = why;
}

async function openHouse() {
  page.state = await ask("/console/state");
  if (!page.calls) {
    page.drawer = new Drawer(page.state.fields);
    page.calls = new Calls(page.state.fields.map((field) => field.name), (event, after) => page.drawer.open(event, after));
    new MutationObserver(() => showEmpty(page.state)).observe(find("no-calls"), { attributeFilter: ["data-because"] });
  }
  find("door").hidden = true;
  find("house").hidden = false;
  showAll(page.state);
  await takeDenials();
  follower.start();
  refreshTotals();
}

function showAll(state) {
  showState(state);
  find("under-way").textContent = count(state.under_way);
  showPolicy(state.policy, page.denials, (event) => page.drawer.open(event));
}

const asEvent = (row) => Object.fromEntries(page.calls.names.map((name, index) => [name, row[index]]));

async function takeDenials() {
  page.denials = (await ask("/console/calls?denied=1")).rows.map(asEvent);
  showPolicy(page.state.policy, page.denials, (event) => page.drawer.open(event));
}

const follower = new Follower({
  async start() {
    // The feed begins here; what was before is in the record.
    const { rows } = await attempt("/console/calls", { rows: [] });
    page.calls.take(rows);
  },
  batch({ rows, more, under_way }) {
    page.calls.take(rows, more);
    find("under-way").textContent = count(under_way);
    page.ended += more;
    let denials = 0;
    for (const event of rows.map(asEvent)) {
      page.drawer.follow(event);
      if (event.outcome) page.ended += 1;
      if (event.policy_result !== "deny") continue;
      denials += 1;
      page.denials = [event, ...page.denials.filter((other) => other.id !== event.id)].slice(0, DENIALS);
    }
    page.denied += denials;
    if (denials) showPolicy(page.state.policy, page.denials, (event) => page.drawer.open(event));
  },
  state: showLink,
  signedOut: () => showDoor("You were signed out."),
});

let link = "lost";

function showLink(state) {
  link = state;
  const paused = page.calls?.paused;
  find("link").dataset.state = link === "live" && paused ? "paused" : link;
  find("link-text").textContent = link === "lost" ? "connection lost, trying again" : paused ? "paused" : "live";
}

document.addEventListener("paused", () => showLink(link));

async function attempt(path, otherwise) {
  try {
    return await ask(path);
  } catch (error) {
    if (error instanceof SignedOut) showDoor("You were signed out.");
    return otherwise;
  }
}

// Now and then.

const seen = () => !document.hidden && !find("house").hidden;

setInterval(async () => {
  if (!seen()) return;
  const state = await attempt("/console/state", null);
  if (state) showAll((page.state = state));
}, STATE_EVERY);

setInterval(async () => {
  const ids = seen() ? page.calls.underWay(LOOKS_AFTER).slice(0, 50) : [];
  if (!ids.length) return;
  const { rows } = await attempt(`/console/calls?ids=${ids.join(",")}`, { rows: null });
  if (rows) page.calls.take(rows);
}, LOOKS_AFTER);

setInterval(() => {
  if (!page.ended || !seen()) return;
  const denied = page.denied ? `, ${count(page.denied)} denied` : "";
  find("says").textContent = `${count(page.ended)} call${page.ended === 1 ? "" : "s"} ended in the last ten seconds${denied}.`;
  page.ended = page.denied = 0;
}, SAYS_EVERY);

const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
let drawn = "";

async function refreshTotals() {
  clearTimeout(page.totalsDue);
  const [period, by] = [chosen("period"), chosen("by")];
  if (seen()) {
    const totals = await attempt(`/console/totals?period=${period}&by=${by}`, null);
    const { now, ...content } = totals ?? {};
    const text = JSON.stringify(content);
    if (totals?.readable && text !== drawn && period === chosen("period") && by === chosen("by")) {
      drawn = text;
      drawTotals(totals);
    }
  }
  clearTimeout(page.totalsDue);
  if (!find("house").hidden) page.totalsDue = setTimeout(refreshTotals, TOTALS_EVERY[period]);
}

let across = 0;

addEventListener("resize", () => {
  const latest = widthOf(find("plots"));
  if (latest === across) return;
  across = latest;
  drawn = "";
  refreshTotals();
});

for (const name of ["period", "by"]) find(name).addEventListener("change", refreshTotals);

find("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const why = await post("/console/sign-in", { key: find("key").value });
  find("door-says").textContent = why ?? "";
  if (why) return;
  find("key").value = "";
  begin();
});

find("sign-out").addEventListener("click", async () => {
  await post("/console/sign-out", {});
  showDoor("");
});

begin();
