// The open sessions: connections of many responses. Nothing of what is said in them reaches the page.

import { el, find } from "./dom.js";
import { UNKNOWN, count, known, money, remaining } from "./format.js";

// open(id): shows the event of a session.
export function showSessions(sessions, now, open) {
  find("sessions").hidden = !sessions.count;
  const left = sessions.count - sessions.rows.length;
  find("more-sessions").hidden = left <= 0;
  find("more-sessions").textContent = `… and ${count(left)} more`;
  const focused = document.activeElement?.closest("#session-rows tr")?.dataset.id;
  find("session-rows").replaceChildren(...sessions.rows.map((session) => rowOf(session, now, open)));
  if (focused) [...find("session-rows").children].find((row) => row.dataset.id === focused)?.querySelector("button").focus();
}

function rowOf(session, now, open) {
  const age = remaining(Math.max(0, now - session.started_at));
  const label = `${age}, ${session.agent ?? "unknown"}, ${session.model ?? session.operation}: show all fields`;
  const cell = (value, sub, type) => el("td", { class: type }, value, sub ? el("span", { class: "sub" }, sub) : null);
  return el("tr", { "data-id": session.id },
    el("td", {}, el("button", { type: "button", class: "quiet mono", "aria-label": label, on: { click: () => open(session.id) } }, age)),
    cell(session.agent ?? "unknown"),
    el("td", {}, session.model ?? UNKNOWN, el("span", { class: "sub narrow" }, session.agent ?? "unknown"),
      el("span", { class: "sub" }, `${session.provider ?? "unknown"} · ${session.operation}`)),
    cell(count(session.responses), null, "number"),
    cell(pairOf(session.input_tokens, session.output_tokens), audioOf(session), "number wide"),
    cell(money(session.cost_usd), session.unpriced ? `${count(session.unpriced)} without a price` : null, "number"));
}

function pairOf(input, output) {
  return known(input) || known(output) ? `${count(input)} → ${count(output)}` : UNKNOWN;
}

function audioOf(session) {
  const pair = pairOf(session.audio_input_tokens, session.audio_output_tokens);
  return pair === UNKNOWN ? null : `audio ${pair}`;
}
