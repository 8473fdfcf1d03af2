// The drawer: all fields of one call's audit event.

import { el, find } from "./dom.js";
import { known } from "./format.js";

const GROUPS = [
  ["Agent", ["agent_id", "agent_role", "agent_type", "client", "labels", "labels_unverified", "labels_invalid"]],
  ["Request", ["provider", "operation", "requested_model", "stream", "message_count", "has_system", "has_tools", "tool_count", "max_tokens", "method", "path", "request_bytes", "rolled_up_messages", "parent_id"]],
  ["Decision", ["policy_result", "policy_reason", "policy_revision", "route", "model", "credential", "upstream", "attempts"]],
  ["Outcome", ["outcome", "status", "finish_reason", "ttfb_ms", "duration_ms", "response_bytes", "replica"]],
  ["Usage", ["input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "cost_usd"]],
];

export class Drawer {
  constructor(fields) {
    this.fields = new Map(fields.map((field) => [field.name, field]));
    this.dialog = find("drawer");
    this.id = null;
    this.after = null;
    find("drawer-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => {
      this.id = null;
      this.after?.();
    });
  }

  // after: called when the drawer closes. It looks up the row again, as the table may have changed.
  open(event, after) {
    this.after = after;
    this.fill(event);
    this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }

  follow(event) {
    if (event.id === this.id) this.fill(event);
  }

  fill(event) {
    this.id = event.id;
    const named = new Set(GROUPS.flatMap(([, names]) => names));
    const others = [...this.fields.keys()].filter((name) => !named.has(name));
    find("drawer-body").replaceChildren(
      ...[...GROUPS, ["Record", others]].flatMap(([title, names]) => [el("h3", {}, title), this.listed(event, names)]),
    );
  }

  listed(event, names) {
    return el("dl", {}, names.filter((name) => this.fields.has(name)).flatMap((name) => {
      const value = this.shown(name, event[name]);
      return [
        el("dt", { title: this.fields.get(name).description.replaceAll("`", "") }, name),
        el("dd", { class: value === null ? "unknown" : null }, value ?? "unknown"),
      ];
    }));
  }

  shown(name, value) {
    if (!known(value)) return null;
    return this.fields.get(name).type === "boolean" ? (value ? "yes" : "no") : String(value);
  }
}
