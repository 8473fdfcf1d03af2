"""Changes the model, parameters, token limit and usage option of a request. The providers' common part.

Only the bytes of a changed value differ. If a request leaves the model to the provider, the name is added. If it asks
for that model already, no byte differs. If both path and body name the model, both are changed, as a provider may use
either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.body import READ_AS_JSON, Body
from wirekey.core.errors import Fault, Refusal
from wirekey.core.model_name import ModelNameError
from wirekey.providers.json_edits import EditableBody, apply_edits
from wirekey.providers.multipart import field_edit, read_fields
from wirekey.providers.request_json import check_model

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from wirekey.core.body import RequestBody
    from wirekey.core.model_name import Value
    from wirekey.core.operation import Facts, Operation
    from wirekey.providers.json_edits import EditableObject, Members


@dataclass(frozen=True, slots=True)
class RequestEdits:
    """The changes wanted in one request. The defaults change nothing."""

    model: str | None = None
    """The model to ask for, without provider and parameters."""
    parameters: tuple[tuple[str, Value], ...] = ()
    """Names of `model_name.READERS`, each with its value."""
    max_tokens: int | None = None
    """A cap: a larger or missing limit of output tokens becomes this. It holds for each response that is asked for."""
    clamp_temperature: bool = False
    """Whether a temperature above 1 becomes 1."""
    include_usage: bool = False
    """Whether to ask for the token counts of a stream, if the provider sends them only when asked."""
    provider: str | None = None
    """The provider that answers, if it is not the one that was called."""
    google_reads: bool = False
    """Whether a model of Google's reads a request in OpenAI's format, so that it may have a `thinking_budget`."""


@dataclass(frozen=True, slots=True)
class EditedRequest:
    """A request with its edits. `target`: raw path with its query."""

    target: bytes
    body: RequestBody
    model_changed: bool = False
    """Whether the request now asks for the model of the edits, and asked for no model or a different one before."""
    usage_requested: bool = False
    """Whether the request now asks for token counts that its client did not ask for."""


class RequestEditor:
    """The edits that all providers have in common; each provider's `…Requests` derives from it."""

    name: str
    parameters: Mapping[str, tuple[str, ...]]
    """Operation → the parameters of a model's name that its requests can hold. None for other operations."""
    model_in_path: re.Pattern[bytes]
    """Finds the model in the path of an operation that names it there; group 1 is the span to replace."""

    def edit_request(  # a request's parts, in the order in which they are known
        self, operation: Operation, target: bytes, content_type: str, body: RequestBody, edits: RequestEdits
    ) -> EditedRequest:
        """Return a recognised, well-formed request with all edits, made from one parse of its body.

        The content-length is the caller's to set. An operation without a model, or without a limit of tokens, keeps
        what it has. Raises Refusal(403): `cannot_override` if the model's name cannot stand in this request or the
        request names its model out of reach, `cannot_cap` if it is not known where this request has its limit. Raises
        ModelNameError if the operation does not take a parameter.
        """
        changed = usage_requested = False
        if edits.model is not None:
            self.check_reach(operation)
            if operation.model not in (None, edits.model):
                target, changed = self._target_with_model(operation, target, edits.model), True
        self.check_parameters(operation, edits)
        if operation.body is Body.MULTIPART and edits.model is not None:
            edited = self._form_with_model(content_type, body, edits.model)
            changed, body = changed or edited is not body, edited
        elif operation.body in READ_AS_JSON:
            editable = EditableBody(body)
            changed = self.edit_body(operation, editable, edits) or changed
            if edits.clamp_temperature:
                self.clamp_temperature(operation, editable)
            usage_requested = edits.include_usage and self.request_usage(editable, edits)
            body = editable.written()
        if edits.provider not in (None, self.name):
            elsewhere = self.equivalent_target(target, operation, edits.provider)
            assert elsewhere is not None, "the route leads to a provider that answers this operation"
            target = elsewhere
        return EditedRequest(target, body, changed, usage_requested)

    def equivalent_target(self, target: bytes, operation: Operation, provider: str) -> bytes | None:
        """Return the target that means the same at another provider.

        None if that provider does not answer this operation in this format.
        """
        return target if provider == self.name else None

    # Defined by each provider.

    def check_reach(self, operation: Operation) -> None:
        """Raise Refusal(403) if the model of this operation cannot be changed."""

    def check_model_name(self, model: str) -> None:
        """Raise Refusal(403) if this is no name of a model at this provider."""
        try:
            check_model(model)
        except Refusal:
            raise misnamed(model, "anywhere: it is empty, too long or not printable") from None

    def model_segment(self, operation: Operation, model: str) -> str:
        """Return a checked name as it stands in the path of an operation. Raises Refusal(403) if it cannot."""
        raise NotImplementedError

    def edit_body(self, operation: Operation, body: EditableBody, edits: RequestEdits) -> bool:
        """Set model, parameters and limit in a JSON body, and return whether the model changed."""
        raise NotImplementedError

    def clamp_temperature(self, operation: Operation, body: EditableBody) -> None:
        """Set a temperature above 1 to 1. The others, and bodies without one, stay as they are."""
        clamp(body.root)

    def request_usage(self, body: EditableBody, edits: RequestEdits) -> bool:
        """Ask for token counts in a JSON body, and return whether it now asks for them."""
        return False

    # As most providers have it.

    def plain_target(self, target: str) -> str:
        """Return a raw path with its query in the one spelling that `match_operation` knows."""
        return target

    def check_head(self, operation: Operation, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Accept every head of a request."""

    def read_upgrade(self, operation: Operation, query: Mapping[str, str]) -> Operation:
        """Return the operation of a request that opens a WebSocket: its model is in its messages."""
        return operation

    def facts_at(self, operation: Operation, facts: Facts) -> Facts:
        """Return the facts as the body has them: the path says nothing more."""
        return facts

    # Common to them.

    def check_parameters(self, operation: Operation, edits: RequestEdits) -> None:
        """Raise ModelNameError if requests of this operation cannot hold one of the parameters."""
        allowed = self.parameters.get(operation.name, ()) if operation.body in READ_AS_JSON else ()
        if operation.name == "chat.completions" and edits.google_reads:
            allowed = (*allowed, "thinking_budget")
        for name, _ in edits.parameters:
            if name not in allowed:
                there = f"; there are {', '.join(allowed)}" if allowed else ", nor any other"
                raise ModelNameError(f"has the parameter {name}, which {operation.name} does not take{there}")

    def set_model(self, parent: EditableObject, model: str, key: str = "model", *, add: bool = True) -> bool:
        """Name the model in an object, and return whether that changed it.

        `add`: whether the name is added if it is absent or null.
        """
        asked = parent.members.text(key)
        if asked == model or (asked is None and not add):
            return False
        self.check_model_name(model)
        parent.set({key: msgspec.json.encode(model)})
        return True

    def _target_with_model(self, operation: Operation, target: bytes, model: str) -> bytes:
        self.check_model_name(model)
        segment = self.model_segment(operation, model)
        found = self.model_in_path.search(target.partition(b"?")[0])
        assert found, "the path of the operation names its model"
        return apply_edits(target, [(*found.span(1), segment.encode())])

    def _form_with_model(self, content_type: str, body: RequestBody, model: str) -> RequestBody:
        if read_fields(content_type, body, ("model",)).get("model") == model:
            return body
        self.check_model_name(model)
        try:
            return apply_edits(body, [field_edit(content_type, body, "model", model)])
        except ValueError as error:
            raise misnamed(model, f"in this form, as {error}") from None


def as_json(parameters: tuple[tuple[str, Value], ...]) -> dict[str, bytes]:
    """Return parameters by name, each with the JSON of its value."""
    return {name: msgspec.json.encode(value) for name, value in parameters}


def clamp(parent: EditableObject | None) -> None:
    """Set the member `temperature` of an object to 1 if it is larger."""
    temperature = parent.members.number("temperature") if parent else None
    if parent and temperature is not None and temperature > 1:
        parent.set({"temperature": b"1"})


def cap_tokens(parent: EditableObject, keys: tuple[str, ...], added: str, cap: int) -> None:
    """Set each of these limits to the cap if it is larger or no limit at all (zero, negative).

    If none of them is set, `added` is.
    """
    written = [key for key in keys if key in parent.members.values]
    limits = {key: limit for key in written if (limit := parent.members.integer(key)) is not None}
    over: Members = {key: b"%d" % cap for key, limit in limits.items() if not 0 < limit <= cap}
    parent.set(over if limits else {(written or [added])[0]: b"%d" % cap})


def cap_tokens_in_group(parent: EditableObject, group: str, key: str, cap: int) -> None:
    """Cap a limit in the object under `group`, as `cap_tokens` does. The object is added if it is absent."""
    inner = parent.child(group)
    if inner is None:
        parent.set({group: {key: b"%d" % cap}})
    else:
        cap_tokens(inner, (key,), key, cap)


def misnamed(model: str, where: str) -> Refusal:
    """Return the refusal of a call whose model's name cannot stand in its request. `where` ends the sentence."""
    return Refusal(
        403,
        "cannot_override",
        f"This call is to go to the model {model[:64]!r}, a name that cannot stand {where}. "
        "The operator corrects it in model_override, in the route or in the policy.",
        Fault.OPERATOR,
    )


def out_of_reach(what: str) -> Refusal:
    """Return the refusal of a call whose model cannot be changed. `what` names the request."""
    return Refusal(
        403,
        "cannot_override",
        f"This call is to go to another model than it asks for, and Wirekey cannot change the model of {what}.",
    )


def uncapped(what: str) -> Refusal:
    """Return the refusal of a call whose tokens cannot be capped. `what` names the request."""
    return Refusal(
        403,
        "cannot_cap",
        f"The policy caps the output tokens of this call, and Wirekey cannot cap {what}.",
    )
