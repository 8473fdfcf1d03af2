"""Reads the responses of Bedrock's two-way operation: events of a model for speech, each in base64 in a `chunk`.

A model sends `usageEvent` often, with the tokens of the whole connection so far, apart for speech and text. It answers
in contents, from `contentStart` to `contentEnd`. Further contents of the same turn follow a PARTIAL_TURN.
https://docs.aws.amazon.com/nova/latest/userguide/output-events.html
"""

from __future__ import annotations

import binascii
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.json_response import DECODE_ERRORS, Tokens, word
from wirekey.core.operation import Usage
from wirekey.features.realtime.messages import Reports, ServerMessage
from wirekey.providers.bedrock.stream import BedrockStream

if TYPE_CHECKING:
    from collections.abc import Callable

PARTIAL_TURN = "PARTIAL_TURN"
BEGINNING = 64
"""Characters of base64 in which the name of an event stands. A multiple of four."""
_NAME = re.compile(rb'\s*\{\s*"event"\s*:\s*\{\s*"(usageEvent|(?:completion|content)(?:Start|End))"')


class _Counts(msgspec.Struct, rename="camel"):
    speech_tokens: Tokens | None = None
    text_tokens: Tokens | None = None


class _Total(msgspec.Struct):
    input: _Counts | None = None
    output: _Counts | None = None


class _Details(msgspec.Struct):
    total: _Total | None = None


class _UsageEvent(msgspec.Struct, rename="camel"):
    total_input_tokens: Tokens | None = None
    total_output_tokens: Tokens | None = None
    details: _Details | None = None


class _End(msgspec.Struct, rename="camel"):
    stop_reason: str | None = None


class _Event(msgspec.Struct, rename="camel"):
    usage_event: _UsageEvent | None = None
    content_end: _End | None = None
    completion_end: _End | None = None


class _Message(msgspec.Struct):
    event: _Event


_message = msgspec.json.Decoder(_Message)


class TwoWayStream(BedrockStream):
    """A ResponseReader of invoke-with-bidirectional-stream. It is finished while the model answers nothing.

    It reports turns, with the tokens that each has used: those since the last report. A turn begins with the first
    content of the model, and ends with the first counts after its last content.
    """

    def __init__(self) -> None:
        super().__init__()
        self.finished = True
        self.report: Callable[[ServerMessage], None] = lambda _: None
        self.turns = 0
        self.in_turn = False
        self.reported = Usage()
        """The counts of all turns that were reported."""

    def read_event(self, headers: bytes, payload: bytes) -> None:
        """Learn from one event. Never raises. Of what a model says, only the beginning is decoded."""
        if self.failed(headers):
            self.finished = False
            return
        start = payload.find(b'"', payload.find(b'"bytes"') + len(b'"bytes"')) + 1
        try:
            found = _NAME.match(binascii.a2b_base64(payload[start : start + BEGINNING].partition(b'"')[0]))
            if found is None:
                return
            if found[1].endswith(b"Start"):
                self.begin_turn()
                return
            self.record(_message.decode(binascii.a2b_base64(payload[start : payload.find(b'"', start)])).event)
        except (binascii.Error, *DECODE_ERRORS):
            return

    def record(self, event: _Event) -> None:
        """Record the counts of an event, which replace those before it, or the end of a turn."""
        end = event.content_end or event.completion_end
        if end is not None:
            self.finished = end.stop_reason != PARTIAL_TURN
            self.usage.finish_reason = word(end.stop_reason) or self.usage.finish_reason
        found = event.usage_event
        if found is None:
            return
        usage, total = self.usage, found.details.total if found.details else None
        usage.input_tokens = known(found.total_input_tokens, usage.input_tokens)
        usage.output_tokens = known(found.total_output_tokens, usage.output_tokens)
        if total and total.input:
            usage.audio_input_tokens = known(total.input.speech_tokens, usage.audio_input_tokens)
        if total and total.output:
            usage.audio_output_tokens = known(total.output.speech_tokens, usage.audio_output_tokens)
        if self.in_turn and self.finished:
            self.in_turn = False
            self.report(ServerMessage(Reports.ENDED, str(self.turns), self.take_usage()))

    def begin_turn(self) -> None:
        """Note that the model responds, and report it if that begins a turn."""
        self.finished = False
        if not self.in_turn:
            self.in_turn = True
            self.turns += 1
            self.report(ServerMessage(Reports.BEGAN, str(self.turns)))

    def take_usage(self) -> Usage:
        """Return the tokens that were counted since the last call."""
        usage, before = self.usage, self.reported
        self.reported = replace(usage)
        return Usage(
            input_tokens=since(before.input_tokens, usage.input_tokens),
            output_tokens=since(before.output_tokens, usage.output_tokens),
            finish_reason=usage.finish_reason,
            audio_input_tokens=since(before.audio_input_tokens, usage.audio_input_tokens),
            audio_output_tokens=since(before.audio_output_tokens, usage.audio_output_tokens),
        )


def since(before: int | None, count: int | None) -> int | None:
    """Return how much a count has grown, or None if it is not known."""
    return None if count is None else max(0, count - (before or 0))


def known(count: int | None, before: int | None) -> int | None:
    """Return a count, or the one before it if it is not known."""
    return before if count is None else count
