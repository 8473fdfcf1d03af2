"""Finds how a policy would have decided recorded calls, and where that differs from the recorded decisions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.audit.event import LABEL_NAMES, REQUEST_NAMES
from wirekey.core.model_name import ModelName, ModelNameError
from wirekey.core.policy.decision import UndecidedError, parse_decision, undecided
from wirekey.core.policy.input import NOT_RECORDED, agent_group, encode_input
from wirekey.core.policy.permissions import permissions_of
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wirekey.core.audit.event import EventValue
    from wirekey.core.policy.decision import Decision
    from wirekey.core.policy.input import Input
    from wirekey.core.policy.rego import Rego

type RecordedEvent = dict[str, EventValue]
type Permissions = Callable[[str], list[str]]
"""The permissions of an agent, by its id."""


@dataclass(frozen=True, slots=True)
class DecisionChange:
    """Calls of one agent with one model whose decision would change. `then` and `now`: allow or deny."""

    agent: str | None
    model: str | None
    then: str
    now: str
    reason: str
    calls: int


@dataclass(slots=True)
class ReplayResult:
    """Counts of calls evaluated and left out (no policy had decided them), and what would change."""

    evaluated: int = 0
    left_out: int = 0
    undecided: Counter[str] = field(default_factory=Counter)
    changes: list[DecisionChange] = field(default_factory=list)


def recorded_input(event: RecordedEvent, permitted: Permissions) -> Input:
    """Return the input as far as it is recorded: without the tools' names, other models and headers."""
    given: Input = {name: event[name] for name in REQUEST_NAMES if event[name] is not None}
    given |= {name: msgspec.json.decode(str(event[name])) for name in LABEL_NAMES if event.get(name) is not None}
    given.pop("model", None)
    if "requested_model" in given:
        named = read_backend(str(given["requested_model"]))
        given |= {"requested_model": named.name} | ({"backend": named.backend} if named.backend else {})
        given["model"] = given["requested_model"]
    if kind := kind_of(given):
        given["kind"] = kind
    if given.get("operation") == "tunnel":
        given["upstream"] = str(given.get("path", "")).rpartition(":")[0]
    agent = event["agent_id"]
    permissions = permitted(str(agent)) if agent is not None else permissions_of(None)
    lists: Input = {"tools": [], "other_models": [], "price_modifiers": [], "headers": {}}
    return given | {"agent": agent_group(given, permissions)} | lists


def read_backend(recorded: str) -> ModelName:
    """Return a recorded model with its backend, if it was called by one. Other names stay as they are."""
    try:
        named = ModelName.parse(recorded)
    except ModelNameError:
        return ModelName(recorded)
    return named if named.backend else ModelName(recorded)


def kind_of(given: Input) -> str | None:
    """Return the kind of a recorded call's operation, by its path as the provider knows it; None for a tunnel."""
    provider = PROVIDERS.get(str(given.get("provider")))
    found = (
        provider.operations.match_operation(str(given.get("method")), str(given.get("path")), {}) if provider else None
    )
    return found.kind.value if found and found.name == given.get("operation") else None


def was_decided(event: RecordedEvent) -> bool:
    """Return whether a policy allowed or denied the call. False if it was refused for another reason."""
    reason = str(event["policy_reason"] or "")
    return event["policy_result"] == "allow" or reason.startswith(("policy_denied", "policy_undecided"))


def replay(events: Iterable[RecordedEvent], policy: Rego, query: str, permitted: Permissions) -> ReplayResult:
    """Evaluate all calls. A call that cannot be decided counts as denied."""
    outcome = ReplayResult()
    needs_allow = "allow" in policy.syntax.rule_names(query)
    found: Counter[tuple[Any, ...]] = Counter()
    for event in events:
        if not was_decided(event):
            outcome.left_out += 1
            continue
        outcome.evaluated += 1
        decision = evaluate_call(policy, recorded_input(event, permitted), needs_allow=needs_allow)
        if decision.failure:
            outcome.undecided[decision.failure] += 1
        now = "allow" if decision.allow else "deny"
        if now != event["policy_result"]:
            reason = " ".join(decision.reasons) if not decision.allow else ""
            found[event["agent_id"], event["requested_model"], event["policy_result"], now, reason] += 1
    ordered = sorted(found.items(), key=lambda item: (-item[1], *map(str, item[0])))
    for (agent, model, then, now, reason), calls in ordered:
        outcome.changes.append(DecisionChange(agent, model, then, now, reason, calls))
    return outcome


def evaluate_call(policy: Rego, given: Input, *, needs_allow: bool) -> Decision:
    """Return the decision on one input. A failure denies."""
    try:
        return parse_decision(msgspec.json.decode(policy.evaluate(encode_input(given))), None, needs_allow=needs_allow)
    except UndecidedError as error:
        return undecided(str(error))


def unrecorded_fields(policy: Rego) -> list[str]:
    """Return the fields that the policy reads and the event lacks. For these a replay is a guess."""
    read = {".".join(mention.path[1:]) for mention in policy.syntax.inputs}
    return [name for name in NOT_RECORDED if any(path == name or path.startswith(f"{name}.") for path in read)]
