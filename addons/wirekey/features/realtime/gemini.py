"""Gemini's Live API: a WebSocket whose first message names the model, as a request's body does.

https://ai.google.dev/api/live. Its server reads messages as leniently as its other APIs read JSON, in text and in
binary frames: a member may be spelt in camel or snake case.

A turn of the model begins with its first content, tool call or token counts, and ends with `turnComplete`. The counts
of a turn are in one or several messages, which add up: a turn that calls tools reads its prompt again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.json_response import DECODE_ERRORS, Tokens, word
from wirekey.core.metering.long_strings import outline
from wirekey.core.operation import Facts, Usage, added
from wirekey.features.realtime.messages import Asks, ClientMessage, Reports, ServerMessage, sound_tokens
from wirekey.providers.brought_tools import could_mention
from wirekey.providers.gemini.references import FILE_NAMES
from wirekey.providers.gemini.requests import cap_output
from wirekey.providers.gemini.setup import CONTENT, MESSAGE_KEYS, ONE_MEMBER, SETUP, read_setup, setup_of
from wirekey.providers.json_edits import EditableBody
from wirekey.providers.request_edits import uncapped
from wirekey.providers.request_json import malformed, one_of, read_body, refuse_lookalikes

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.errors import Refusal

INPUT = frozenset({"realtimeInput", "realtime_input"})
COMPLETE = ("turnComplete", "turn_complete")
TURN = "turn"
"""The id of a turn, of which one runs at a time."""

_PCM = rb'"mime_?[tT]ype"\s*:\s*"audio/pcm(?:;\s*rate=(?:[89]\d{3}|\d{5,6}))?"'
_DATA = rb'"data"\s*:\s*"[A-Za-z0-9+/=_-]*"'
_SOUND = rb"\{\s*(?:" + _PCM + rb"\s*,\s*" + _DATA + rb"|" + _DATA + rb"\s*,\s*" + _PCM + rb")\s*\}"
_CHUNK = rb'(?:"audio"\s*:\s*' + _SOUND + rb'|"media_?[cC]hunks"\s*:\s*\[\s*' + _SOUND + rb"\s*\])"
_SOUND_MESSAGE = re.compile(rb'\s*\{\s*"realtime_?[iI]nput"\s*:\s*\{\s*' + _CHUNK + rb"\s*\}\s*\}\s*")
_CONTENT_KEYS = frozenset({"turns", *COMPLETE})
_OF_A_TURN = (
    b'"usageMetadata"', b'"turnComplete"', b'"modelTurn"', b'"toolCall"', b'"outputTranscription"', b'"interrupted"',
)  # fmt: skip
_AUDIO, _IMAGE, _VIDEO = "AUDIO", "IMAGE", "VIDEO"
ABSENT = msgspec.Raw()


class _Modality(msgspec.Struct, rename="camel"):
    modality: str | None = None
    token_count: Tokens | None = None


class _Counts(msgspec.Struct, rename="camel"):
    prompt_token_count: Tokens | None = None
    tool_use_prompt_token_count: Tokens | None = None
    cached_content_token_count: Tokens | None = None
    response_token_count: Tokens | None = None
    candidates_token_count: Tokens | None = None
    thoughts_token_count: Tokens | None = None
    prompt_tokens_details: list[_Modality] = []
    response_tokens_details: list[_Modality] = []
    candidates_tokens_details: list[_Modality] = []


class _Content(msgspec.Struct, rename="camel"):
    model_turn: msgspec.Raw = ABSENT
    output_transcription: msgspec.Raw = ABSENT
    turn_complete: bool = False
    turn_complete_reason: str | None = None
    interrupted: bool = False


class _Message(msgspec.Struct, rename="camel"):
    server_content: _Content | None = None
    tool_call: msgspec.Raw = ABSENT
    usage_metadata: _Counts | None = None


_message = msgspec.json.Decoder(_Message)


class GeminiLive:
    """The messages of the Live API. `facts_of_setup` changes what is read of a `setup`."""

    def __init__(self, facts_of_setup: Callable[[Facts], Facts] | None = None) -> None:
        self._facts_of_setup = facts_of_setup

    def read_client(self, payload: bytes) -> ClientMessage:
        """Return what a client's message asks for. Raises Refusal(400)."""
        message = read_body(payload)
        refuse_lookalikes(message, MESSAGE_KEYS)
        if len(MESSAGE_KEYS & message.values.keys()) > 1:
            raise malformed(ONE_MEMBER)
        if SETUP in message.values:
            facts = read_setup(message)
            return ClientMessage(Asks.SETTINGS, self._facts_of_setup(facts) if self._facts_of_setup else facts)
        if not INPUT.isdisjoint(message.values):
            return ClientMessage(Asks.NOTHING, tokens=sound_tokens(len(payload)) if is_sound(payload) else None)
        refers = could_mention(outline(payload), *FILE_NAMES)
        content = message.child(one_of(message, *CONTENT))
        if content is None:
            return ClientMessage(Asks.NOTHING, Facts(reads_elsewhere=refers))
        refuse_lookalikes(content, _CONTENT_KEYS)
        if not content.flag(one_of(content, *COMPLETE)):
            return ClientMessage(Asks.NOTHING, Facts(reads_elsewhere=refers))
        turns = 1 if content.starts("turns", b"{") else content.length("turns")
        return ClientMessage(Asks.RESPONSE, Facts(stream=True, message_count=turns, reads_elsewhere=refers))

    def read_server(self, payload: bytes) -> tuple[ServerMessage, ...]:
        """Return what a message of the provider reports. Never raises."""
        if not any(name in payload for name in _OF_A_TURN):
            return ()
        try:
            message = _message.decode(payload)
        except DECODE_ERRORS:
            return ()
        content = message.server_content or _Content()
        counts = message.usage_metadata
        said = (content.model_turn, content.output_transcription, message.tool_call)
        is_of_turn = any(map(len, said)) or content.turn_complete or counts
        if not (is_of_turn or content.interrupted):
            return ()
        found = [ServerMessage(Reports.BEGAN, TURN)] if is_of_turn else []
        if counts or content.interrupted:
            usage = read_counts(counts) if counts else Usage()
            usage.finish_reason = "interrupted" if content.interrupted else None
            found.append(ServerMessage(Reports.COUNTED, TURN, usage))
        if content.turn_complete:
            reason = word(content.turn_complete_reason) or "turnComplete"
            found.append(ServerMessage(Reports.ENDED, TURN, Usage(finish_reason=reason)))
        return tuple(found)

    def with_limit(self, payload: bytes, message: ClientMessage, cap: int) -> bytes:
        """Return a `setup` with its limit of output tokens lowered to `cap`.

        Raises Refusal for a message that asks for a turn: it has no limit of its own.
        """
        if message.asks is not Asks.SETTINGS:
            raise uncapped("a turn of the Live API, which has the limit of its `setup`")
        body = EditableBody(payload)
        cap_output(setup_of(body), cap)
        return bytes(body.written()[:])

    def error(self, refusal: Refusal, message: ClientMessage | None, call_id: str) -> None:
        """Return None: the protocol has no error message, and a refusal closes the connection."""

    def going_away(self, seconds: int) -> bytes:
        """Return the message that announces that the connection ends in `seconds`."""
        return msgspec.json.encode({"goAway": {"timeLeft": f"{seconds}s"}})


def is_sound(payload: bytes) -> bool:
    """Return whether a message has uncompressed sound of at least 8 kHz, and nothing else."""
    return _SOUND_MESSAGE.fullmatch(payload) is not None


def read_counts(found: _Counts) -> Usage:
    """Return the usage in token counts. Tokens thought count as output, and those that tools put in as input."""
    written = found.response_token_count if found.response_token_count is not None else found.candidates_token_count
    return Usage(
        input_tokens=added(found.prompt_token_count, found.tool_use_prompt_token_count),
        output_tokens=added(written, found.thoughts_token_count),
        cached_input_tokens=found.cached_content_token_count,
        reasoning_tokens=found.thoughts_token_count,
        audio_input_tokens=audio_in(found.prompt_tokens_details),
        audio_output_tokens=audio_in(found.response_tokens_details or found.candidates_tokens_details),
        image_input_tokens=tokens_of(_IMAGE, found.prompt_tokens_details) or None,
        video_input_tokens=tokens_of(_VIDEO, found.prompt_tokens_details) or None,
    )


def audio_in(details: list[_Modality]) -> int | None:
    """Return the tokens of audio among counts by modality; None if there are no counts."""
    return tokens_of(_AUDIO, details)


def tokens_of(modality: str, details: list[_Modality]) -> int | None:
    """Return the tokens of one modality among counts by modality; None if there are no counts."""
    counts = [each.token_count for each in details if each.modality == modality and each.token_count is not None]
    return sum(counts) if details else None
