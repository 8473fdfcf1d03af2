// The panels beside the calls: what needs attention, keys, agents, policy, and listeners.

import { el, find } from "./dom.js";
import { count, dayOf, money, remaining, timeOf } from "./format.js";

const MODES = {
  client: "each program sends its own key in a header",
  passthrough: "each program's own key is passed through",
  aws: "signed with credentials from the AWS chain",
  google: "sent with an access token of Google Cloud",
  accounts: "no account: log in, or correct the login file",
};
const DENIALS = 10;

export function showState(state) {
  find("simulated").hidden = !state.simulated;
  showAttention(state.attention);
  find("keys").replaceChildren(el("ul", {}, state.providers.map((provider) => keysOf(provider, state))));
  find("agents").replaceChildren(...agentsOf(state));
  find("quotas-panel").hidden = !state.quotas.length;
  find("quotas").replaceChildren(el("ul", {}, state.quotas.map(quotaOf)));
  find("foot").textContent = footOf(state);
  showEmpty(state);
}

function showAttention(notes) {
  find("attention").hidden = !notes.length;
  find("attention-list").replaceChildren(
    ...notes.map((note) => el("li", { class: note.level }, el("b", {}, note.what), note.fix ? [" ", el("span", { class: "soft" }, note.fix)] : null)),
  );
}

function keysOf(provider, state) {
  const used = provider.keys.reduce((total, key) => total + key.calls, 0);
  if (!provider.keys.length) {
    const why = MODES[provider.mode] ?? `no key: set ${provider.setting}`;
    return el("li", {}, provider.name, el("div", { class: "soft" }, why));
  }
  return el("li", {}, provider.name, provider.keys.map((key) => {
    const health = key.trouble ? el("span", { class: "bad" }, key.trouble) : key.cooling_seconds > 0 ? el("span", { class: "bad" }, `cooling down, ${remaining(key.cooling_seconds)}`) : key.refusals ? el("span", { class: "warn" }, "was refused") : el("span", { class: "good" }, "in use");
    const share = used ? `${count(key.calls)} call${key.calls === 1 ? "" : "s"}, ${Math.round((100 * key.calls) / used)} %` : state.simulated ? "simulated" : "not used yet";
    return el("div", { class: "row" }, el("code", {}, key.label), el("span", { class: "soft number" }, share), health);
  }));
}

function agentsOf(state) {
  if (!state.agent_count) {
    return [el("div", { class: "empty" }, el("p", {}, "No agents yet. Give each program its own agent:"), el("pre", {}, el("code", {}, `${state.command} agents add alice`)))];
  }
  const has = (agent) => [
    agent.suspended ? "suspended" : null,
    agent.tokens ? `${agent.tokens} token${agent.tokens === 1 ? "" : "s"}` : null,
    agent.clients ? "client credentials" : null,
    agent.aws ? "AWS pair" : null,
  ].filter(Boolean).join(", ") || "no token";
  const rows = state.agents.map((agent) => el("li", {},
    el("div", { class: "row" }, el("span", {}, agent.id), el("span", { class: "soft" }, has(agent))),
    el("div", { class: "soft" }, [agent.role, agent.type, `since ${dayOf(agent.created)}`].filter(Boolean).join(" · "))));
  const left = state.agent_count - state.agents.length;
  return [el("ul", {}, rows), left > 0 ? el("p", { class: "more" }, `… and ${count(left)} more`) : ""];
}

const LIMITS = {
  requests_per_minute: (row) => `${count(row.allowed)} requests a minute`,
  tokens_per_minute: (row) => `${count(row.allowed)} tokens a minute`,
  concurrent: (row) => `${count(row.used)} of ${count(row.allowed)} calls at a time`,
};
const WINDOWS = { hour: "this hour", day: "today", week: "this week", month: "this month", lifetime: "in total" };

// Of a total, such as usd_per_day, tokens_per_week or requests_lifetime.
function totalOf(row) {
  const [, kind, window] = /^(usd|tokens|requests)_(?:per_)?(\w+)$/.exec(row.limit);
  const used = kind === "usd" ? `${money(row.used)} of ${money(row.allowed)}` : `${count(row.used)} of ${count(row.allowed)} ${kind}`;
  return `${used} ${WINDOWS[window]}`;
}

function quotaOf(row) {
  const left = Math.round(100 * row.ratio);
  const health = left > 20 ? "good" : left > 0 ? "warn" : "bad";
  return el("li", {},
    el("div", { class: "row" }, el("span", {}, row.quota, row.subject === "_ALL" ? null : ` · ${row.subject}`), el("span", { class: health }, `${left} % left`)),
    el("div", { class: "soft" }, (LIMITS[row.limit] ?? totalOf)(row)));
}

// denials: events, latest first.
export function showPolicy(policy, denials, open) {
  const revision = policy.revision ? el("code", {}, policy.revision) : "named in each decision";
  const place = policy.place ? el("div", { class: "soft" }, policy.place) : null;
  const rows = denials.slice(0, DENIALS).map((event) => el("li", {},
    el("div", { class: "row" },
      el("button", { type: "button", class: "quiet mono", on: { click: () => open(event) } }, timeOf(event.time)),
      el("span", { class: "soft" }, [event.agent_id ?? "unknown", event.model ?? event.requested_model ?? event.path].join(" · "))),
    el("div", {}, event.policy_reason ?? "no reason")));
  find("policy").replaceChildren(
    el("ul", {}, el("li", {}, "Revision ", revision, place)),
    el("h3", {}, "Last denials"),
    rows.length ? el("ul", {}, rows) : el("p", { class: "soft" }, "No denials among the latest calls."),
  );
}

function showEmpty(state) {
  const agent = state.agents.find((one) => one.tokens) ?? state.agents[0];
  const command = agent ? `${state.command} exec --agent ${agent.id} -- python my_program.py` : `${state.command} exec -- python my_program.py`;
  const box = find("no-calls");
  if (box.dataset.because === "filters") {
    box.replaceChildren(el("p", {}, "No calls match these filters."), el("button", { type: "button", on: { click: () => find("filters").reset() } }, "Clear the filters"));
  } else {
    box.replaceChildren(
      el("p", {}, "No calls yet. Run a program through Wirekey to see its calls here:"),
      el("pre", {}, el("code", {}, command)),
      el("p", { class: "soft" }, `Or set HTTPS_PROXY yourself: ${state.command} env${agent ? ` --agent ${agent.id}` : ""} prints the variables that a program needs.`),
    );
  }
}

export { showEmpty };

function footOf(state) {
  const places = Object.entries(state.listeners).filter(([, place]) => place).map(([name, place]) => `${name} ${place}`);
  const ca = state.ca_ends ? [`CA until ${dayOf(state.ca_ends)}`] : [];
  return [...places, ...ca, `running since ${dayOf(state.started)} ${timeOf(state.started * 1000)}`].join(" · ");
}
