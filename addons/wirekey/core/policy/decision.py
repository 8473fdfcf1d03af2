"""A decision, and how it is read from the document of a policy package. Pure.

Only a well-formed document allows. `deny` is a boolean or a set of reasons. `allow` is a boolean, which must be true if
the package has a rule of that name. `model` is a name, `max_tokens` a number of at least 1. Other names are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wirekey.core.errors import Fault, Refusal
from wirekey.core.json_size import INTEGER_LIMIT
from wirekey.core.model_name import MODEL_LENGTH

DECIDING = ("deny", "allow", "model", "max_tokens")
"""The rules of a policy's package that decide."""
DENIED = "The policy denies this call."
NOT_ALLOWED = "No rule of the policy allows this call."
UNDECIDED = "The policy could not decide this call, so the request was not sent. The operator's log has the reason."

MOST_REASONS = 8
LONGEST_REASON = 200


class UndecidedError(Exception):
    """There is no decision. The message says why, for the operator."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of a policy about one call."""

    allow: bool
    reasons: tuple[str, ...] = ()
    """Why the call is denied, for the caller. Empty if it is allowed."""
    model: str | None = None
    """The model to use instead of the requested one."""
    max_tokens: int | None = None
    """The most output tokens that the call may request."""
    revision: str | None = None
    """The policy that decided."""
    failure: str | None = None
    """Why there is no decision, for the operator. Such a call is denied."""

    def refusal(self) -> Refusal:
        """Return the error for a call that is not allowed."""
        assert not self.allow
        if self.failure is not None:
            return Refusal(503, "policy_undecided", UNDECIDED, Fault.OPERATOR)
        return Refusal(403, "policy_denied", " ".join(self.reasons))


def undecided(failure: str, revision: str | None = None) -> Decision:
    """Return the decision that denies a call because of a failure."""
    return Decision(allow=False, reasons=(UNDECIDED,), revision=revision, failure=failure)


def parse_decision(document: Any, revision: str | None, *, needs_allow: bool) -> Decision:
    """Parse a decision document, decoded JSON. `needs_allow`: the package has a rule `allow`. Never raises."""
    try:
        return read_document(document, revision, needs_allow=needs_allow)
    except UndecidedError as error:
        return undecided(str(error), revision)


def read_document(document: Any, revision: str | None, *, needs_allow: bool) -> Decision:
    """Parse a decision document. Raises UndecidedError if it is not well-formed."""
    if not isinstance(document, dict):
        raise UndecidedError(f"The policy's result is {kind(document)}, not the document of a package.")
    reasons = denials(document)
    allowed = document.get("allow", not needs_allow)
    if not isinstance(allowed, bool):
        raise UndecidedError(f"`allow` is {kind(allowed)}; it must be true or false.")
    model, max_tokens = model_of(document), max_tokens_of(document)
    if not reasons and not allowed:
        reasons = (NOT_ALLOWED,)
    if reasons:
        return Decision(allow=False, reasons=reasons, revision=revision)
    return Decision(allow=True, model=model, max_tokens=max_tokens, revision=revision)


def denials(document: dict[str, Any]) -> tuple[str, ...]:
    """Return all reasons, sorted and printable. Raises UndecidedError if `deny` is neither a boolean nor strings."""
    deny = document.get("deny", False)
    if isinstance(deny, bool):
        return (denied_at(document),) if deny else ()
    if not isinstance(deny, list) or not all(isinstance(reason, str) for reason in deny):
        raise UndecidedError(f"`deny` is {kind(deny)}; it must be true, false or a set of strings.")
    shown = sorted({plain(reason) for reason in deny})
    if len(shown) > MOST_REASONS:
        shown = [*shown[:MOST_REASONS], f"(and {len(shown) - MOST_REASONS} more)"]
    return tuple(shown)


def denied_at(document: dict[str, Any]) -> str:
    """Return the reason for a `deny` that is true. `deny_at` has the rules that denied."""
    places = document.get("deny_at")
    if not isinstance(places, list) or not places:
        return DENIED
    return plain(f"{DENIED} ({', '.join(map(str, places))})")


def plain(reason: str) -> str:
    """Return a reason fit for error messages and logs: one line, no control characters, limited length."""
    shown = "".join(character if character.isprintable() else " " for character in reason[: LONGEST_REASON + 1]).strip()
    if not shown:
        return DENIED
    return shown if len(shown) <= LONGEST_REASON else shown[: LONGEST_REASON - 1] + "…"


def model_of(document: dict[str, Any]) -> str | None:
    """Return the model that the document sets, or None. Raises UndecidedError if it is not a name."""
    if "model" not in document:
        return None
    model = document["model"]
    if isinstance(model, str) and 0 < len(model) <= MODEL_LENGTH and model.isprintable() and model == model.strip():
        return model
    raise UndecidedError(f"`model` is {kind(model)}; it must be the name of a model.")


def max_tokens_of(document: dict[str, Any]) -> int | None:
    """Return the token limit that the document sets, or None. Raises UndecidedError if it is not a whole number."""
    if "max_tokens" not in document:
        return None
    cap = document["max_tokens"]
    if isinstance(cap, float) and cap.is_integer():
        cap = int(cap)
    if type(cap) is int and 0 < cap <= INTEGER_LIMIT:
        return cap
    raise UndecidedError(f"`max_tokens` is {kind(cap)}; it must be a whole number of at least 1.")


def kind(value: Any) -> str:
    """Return the JSON type of a value, and small values themselves."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return f"the number {value!r}"[:64]
    if isinstance(value, str):
        return f"the string {plain(value)[:40]!r}"
    return "an array" if isinstance(value, list) else "an object"
