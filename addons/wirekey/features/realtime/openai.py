"""OpenAI Realtime: https://platform.openai.com/docs/api-reference/realtime-client-events and realtime-server-events."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.json_response import DECODE_ERRORS, Tokens, word
from wirekey.core.operation import Facts, Usage
from wirekey.features.realtime.messages import LONGEST_NAME, Asks, ClientMessage, Reports, ServerMessage, sound_tokens
from wirekey.providers.json_edits import EditableBody
from wirekey.providers.openai.references import runs_tools
from wirekey.providers.request_edits import cap_tokens_in_group
from wirekey.providers.request_json import (
    check_model,
    malformed,
    read_body,
    read_messages,
    read_model,
    refuse_lookalikes,
)
from wirekey.providers.tools import collect, first_tools, names_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.core.errors import Refusal
    from wirekey.providers.request_json import JsonObject

GROUPS = {
    "response.create": (Asks.RESPONSE, "response"),
    "session.update": (Asks.SETTINGS, "session"),
    "transcription_session.update": (Asks.SETTINGS, "session"),
}
"""Type of a client's event that is decided → what it asks for, and the member with its settings."""
SOUND = "input_audio_buffer.append"
LIMITS = ("max_output_tokens", "max_response_output_tokens")
"""The second is of the beta version."""

_EVENT_KEYS = frozenset({"type", "event_id", "session", "response"})
_GROUP_KEYS = frozenset({"model", "tools", "instructions", "input", "audio", "input_audio_transcription", *LIMITS})
_INFINITE = b'"inf"'
_OF_INTEREST = re.compile(
    rb'"type"[ \t\r\n]*:[ \t\r\n]*"(?:error|response\.(?:created|done)|'
    rb'conversation\.item\.input_audio_transcription\.completed)"'
)


class _TokenDetails(msgspec.Struct):
    cached_tokens: Tokens | None = None
    audio_tokens: Tokens | None = None


class _Usage(msgspec.Struct):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    input_token_details: _TokenDetails | None = None
    output_token_details: _TokenDetails | None = None


class _Failure(msgspec.Struct):
    type: str | None = None
    code: str | int | None = None
    event_id: str | None = None


class _StatusDetails(msgspec.Struct):
    reason: str | None = None
    error: _Failure | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    status_details: _StatusDetails | None = None
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    type: str
    response: _Response | None = None
    usage: _Usage | None = None
    error: _Failure | None = None
    item_id: str | None = None


_event = msgspec.json.Decoder(_Event)


class OpenAiRealtime:
    """The events of OpenAI Realtime."""

    def read_client(self, payload: bytes) -> ClientMessage:
        """Return what a client's event asks for. Raises Refusal(400)."""
        event = read_body(payload)
        refuse_lookalikes(event, _EVENT_KEYS)
        kind = event.text("type")
        if kind is None:
            raise malformed("an event must have a type")
        if kind not in GROUPS:
            return ClientMessage(Asks.NOTHING, tokens=sound_tokens(len(payload)) if kind == SOUND else None)
        asks, name = GROUPS[kind]
        if len(event.values.get("event_id", b"")) > LONGEST_NAME:
            raise malformed(f"event_id is longer than {LONGEST_NAME} bytes")
        group = event.child(name)
        return ClientMessage(asks, read_settings(group), event.text("event_id"), is_apart=has_own_input(group))

    def read_server(self, payload: bytes) -> tuple[ServerMessage, ...]:
        """Return what an event of the provider reports. Never raises."""
        if _OF_INTEREST.search(payload) is None:
            return ()
        try:
            event = _event.decode(payload)
        except DECODE_ERRORS:
            return ()
        found = read_event(event)
        return (found,) if found else ()

    def with_limit(self, payload: bytes, message: ClientMessage, cap: int) -> bytes:
        """Return an event with its limit of output tokens lowered to `cap`. Raises Refusal."""
        body = EditableBody(payload)
        name = "response" if message.asks is Asks.RESPONSE else "session"
        group = body.root.child(name)
        written = [key for key in LIMITS if group is not None and key in group.members.values]
        key = written[0] if written else LIMITS[0]
        if group is not None and written and bytes(group.members.values[key]) == _INFINITE:
            group.set({key: b"%d" % cap})
        else:
            cap_tokens_in_group(body.root, name, key, cap)
        return bytes(body.written())

    def going_away(self, seconds: int) -> None:
        """Return None: the protocol does not announce the end of a connection."""

    def error(self, refusal: Refusal, message: ClientMessage | None, call_id: str) -> bytes | None:
        """Return the error event of a refusal."""
        kind = (
            "invalid_request_error"
            if refusal.status < 429
            else "rate_limit_error"
            if refusal.status == 429
            else "server_error"
        )
        failure = {
            "type": refusal.error_type or kind,
            "code": refusal.code,
            "message": refusal.message,
            "param": None,
            "event_id": message.event_id if message else None,
        }
        return msgspec.json.encode({"type": "error", "event_id": f"event_{call_id}", "error": failure})


def read_event(event: _Event) -> ServerMessage | None:
    """Return what an event of the provider reports, or None."""
    match event.type:
        case "response.created":
            return ServerMessage(Reports.BEGAN, event.response.id if event.response else None)
        case "response.done" if event.response:
            return read_end(event.response)
        case "conversation.item.input_audio_transcription.completed" if event.usage:
            return ServerMessage(Reports.USED, event.item_id, read_usage(event.usage))
        case "error" if event.error:
            failure = event.error
            return ServerMessage(
                Reports.FAILED,
                None,
                None,
                False,
                word(str(failure.code or failure.type or "error")),
                failure.event_id,
            )
    return None


def read_settings(group: JsonObject | None) -> Facts:
    """Return the facts of the settings of a session or a response. Raises Refusal(400)."""
    if group is None:
        return Facts(stream=True)
    refuse_lookalikes(group, _GROUP_KEYS)
    offered = first_tools(group.children("tools"))
    tools = collect(name for tool in offered for name in names_of(tool))
    messages = read_messages(group, "input")
    limits = [
        limit
        for key in LIMITS
        if key in group.values and bytes(group.values[key]) != _INFINITE and (limit := group.integer(key)) is not None
    ]
    return Facts(
        model=read_model(group),
        stream=True,
        message_count=messages.count if messages else None,
        has_system=group.filled("instructions"),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        max_tokens=max(limits, default=None),
        tools=tools.names,
        other_models=tuple(dict.fromkeys(transcription_models(group))),
        reads_elsewhere=group.filled("prompt") or runs_tools(offered),
    )


def has_own_input(group: JsonObject | None) -> bool:
    """Return whether the settings of a response name an input in place of the conversation."""
    if group is None:
        return False
    is_apart = group.starts("conversation", b'"') and group.text("conversation") == "none"
    return is_apart or group.filled("input")


def transcription_models(group: JsonObject) -> Iterator[str]:
    """Yield the models that transcribe the input of a session, in the current format and that of the beta version."""
    audio = group.child("audio")
    heard = audio.child("input") if audio else None
    found = (group.child("input_audio_transcription"), heard.child("transcription") if heard else None)
    for settings in chain(found):
        model = settings.text("model") if settings else None
        if model is not None:
            check_model(model, "transcription.model")
            yield model


def read_end(response: _Response) -> ServerMessage:
    """Return what the end of a response reports."""
    usage = read_usage(response.usage) if response.usage else Usage()
    details = response.status_details
    reason = details.reason if details else None
    usage.finish_reason = word(reason or response.status)
    failure = details.error if details else None
    error = word(str(failure.code or failure.type or "error")) if failure else None
    return ServerMessage(Reports.ENDED, response.id, usage, response.status != "failed", error)


def read_usage(found: _Usage) -> Usage:
    """Return the usage of a response or a transcription."""
    inputs, outputs = found.input_token_details or _TokenDetails(), found.output_token_details or _TokenDetails()
    return Usage(
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        cached_input_tokens=inputs.cached_tokens,
        audio_input_tokens=inputs.audio_tokens,
        audio_output_tokens=outputs.audio_tokens,
    )
