"""OpenAI's Responses over a WebSocket: https://developers.openai.com/api/docs/guides/websocket-mode.

Each `response.create` has the members of `POST /v1/responses` beside its `type`, and is a request of its own. Events of
the provider are those of a streamed response. A `stream_id` names one of several lanes, whose responses come in order.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.errors import Refusal
from wirekey.core.metering.json_response import DECODE_ERRORS, word
from wirekey.core.operation import Facts
from wirekey.features.realtime.messages import LONGEST_NAME, Asks, ClientMessage, Reports, ServerMessage
from wirekey.providers.json_edits import EditableBody
from wirekey.providers.openai.errors import error_object
from wirekey.providers.openai.requests import KEYS, read_responses
from wirekey.providers.openai.responses import TypedStream
from wirekey.providers.request_edits import cap_tokens
from wirekey.providers.request_json import JsonObject, malformed, read_body, read_messages, refuse_lookalikes

if TYPE_CHECKING:
    from collections.abc import Mapping

CREATE = "response.create"
STEER = "response.steer"
"""Queues input for a response that continues a running one, with the settings of that one."""
NESTED = "response"
"""Realtime has the members of a request in here. The members beside it would then mean nothing."""
REFERRING = frozenset({"type", "event_id", "stream_id", "response_id", "previous_response_id"})
"""The members of an event that asks for nothing new, such as `response.cancel`."""
ENDS = ("response.completed", "response.incomplete", "response.failed")
LIMIT = "max_output_tokens"

_EVENT_KEYS = KEYS | REFERRING | {NESTED}
_ABSENT = msgspec.Raw(b"null")
_OF_INTEREST = re.compile(rb'"type"[ \t\r\n]*:[ \t\r\n]*"(?:error|response\.(?:created|completed|incomplete|failed))"')


class _Response(msgspec.Struct):
    id: str | None = None


class _Failure(msgspec.Struct):
    type: str | None = None
    code: str | int | None = None


class _Event(msgspec.Struct):
    type: str
    stream_id: str | None = None
    response: _Response | None = None
    error: _Failure | None = None
    code: str | int | None = None


_event = msgspec.json.Decoder(_Event)


class OpenAiResponsesMessages:
    """The events of OpenAI's Responses over a WebSocket."""

    def read_client(self, payload: bytes) -> ClientMessage:
        """Return what a client's event asks for. Raises Refusal(400)."""
        event = read_body(payload)
        check_names({name: len(value) for name, value in event.values.items()})
        return self.read_event(event, read_responses(event) if event.text("type") == CREATE else None)

    def read_members(self, payload: bytes, spans: Mapping[str, tuple[int, int]], facts: Facts) -> ClientMessage:
        """Return what an event asks for whose members and facts were read before. Raises Refusal(400)."""
        check_names({name: end - start for name, (start, end) in spans.items()})
        short = {
            name: msgspec.Raw(payload[start:end]) if end - start <= LONGEST_NAME else _ABSENT
            for name, (start, end) in spans.items()
        }
        return self.read_event(JsonObject(payload, short, ""), facts)

    def read_event(self, event: JsonObject, facts: Facts | None) -> ClientMessage:
        """Return what an event asks for. `facts`: those of a request with the event's members. Raises Refusal(400)."""
        refuse_lookalikes(event, _EVENT_KEYS)
        kind = event.text("type")
        if kind is None:
            raise malformed("an event must have a type")
        lane, previous = event.text("stream_id"), event.text("previous_response_id")
        if kind == CREATE:
            if NESTED in event.values:
                raise malformed(f"the members of a request stand beside its type, and not in {NESTED!r}")
            assert facts
            return ClientMessage(Asks.RESPONSE, replace(facts, stream=True), lane=lane, previous=previous)
        if kind == STEER:
            messages = facts.message_count if facts else count_messages(event)
            return ClientMessage(Asks.SETTINGS, Facts(message_count=messages), lane=lane, previous=previous)
        if set(event.values) <= REFERRING:
            return ClientMessage(Asks.NOTHING)
        raise Refusal(
            400,
            "unknown_event",
            "Wirekey does not know this type of event, which could ask for more than was decided. It was not sent.",
        )

    def read_server(self, payload: bytes) -> tuple[ServerMessage, ...]:
        """Return what an event of the provider reports. Never raises."""
        if _OF_INTEREST.search(payload) is None:
            return ()
        try:
            event = _event.decode(payload)
        except DECODE_ERRORS:
            return ()
        named, lane = name_of(event.response.id if event.response else None), name_of(event.stream_id)
        if event.type == "response.created":
            return (ServerMessage(Reports.BEGAN, named, lane=lane),)
        if event.type == "error":
            # Within the stream of a response, an error has no member `error`. Others are about an event of the client.
            failure = event.error or _Failure(code=event.code)
            error = word(str(failure.code or failure.type or "error"))
            is_within = event.error is None
            return (ServerMessage(Reports.FAILED, None, None, False, error, lane=lane, is_within=is_within),)
        if event.type not in ENDS:
            return ()
        reader = TypedStream()
        reader.read_event(payload)
        succeeded = event.type != "response.failed"
        return (ServerMessage(Reports.ENDED, named, reader.usage, succeeded, reader.error_type, lane=lane),)

    def with_limit(self, payload: bytes, message: ClientMessage, cap: int) -> bytes:
        """Return a request with its limit of output tokens lowered to `cap`. Raises Refusal."""
        body = EditableBody(payload)
        cap_tokens(body.root, (LIMIT,), LIMIT, cap)
        return bytes(body.written())

    def error(self, refusal: Refusal, message: ClientMessage | None, call_id: str) -> bytes:
        """Return the error event of a refusal, in the lane of the event that was refused."""
        failure = {**error_object(refusal), "headers": {"x-wirekey-request-id": call_id}}
        event = {"type": "error", "status": refusal.status, "error": failure}
        if message and message.lane is not None:
            event["stream_id"] = message.lane
        return msgspec.json.encode(event)

    def going_away(self, seconds: int) -> None:
        """Return None: the protocol does not announce the end of a connection."""


def check_names(lengths: Mapping[str, int]) -> None:
    """Raise Refusal(400) if a member that names something is too long. `lengths`: bytes of all members."""
    for name in REFERRING & lengths.keys():
        if lengths[name] > LONGEST_NAME:
            raise malformed(f"{name} is longer than {LONGEST_NAME} bytes")


def name_of(text: str | None) -> str | None:
    """Return a name of the provider, cut if it is too long to be kept."""
    return text[:LONGEST_NAME] if text else text


def count_messages(event: JsonObject) -> int | None:
    """Return the number of messages that an event adds."""
    if event.starts("input", b'"'):
        return 1
    messages = read_messages(event, "input")
    return messages.count if messages else None
