"""What OpenAI's answers tell: chat, completions, responses, embeddings, images, audio; whole and as events."""

from __future__ import annotations

import re

import msgspec

from wirekey.metering.json_answer import JsonReader
from wirekey.metering.oversize import last_object, last_text
from wirekey.metering.sse import SseReader
from wirekey.providers.protocol import Usage

ENDS_OF_RESPONSE = ("response.completed", "response.incomplete", "response.failed")
ENDS_OF_MEDIA = (
    "image_generation.completed",
    "image_edit.completed",
    "transcript.text.done",
    "speech.audio.done",
)


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None
    code: str | int | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Answer(msgspec.Struct):
    """The members of interest of any answer or event; chat and responses have none in common but these."""

    type: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _Error | None = None
    code: str | None = None
    status: str | None = None
    incomplete_details: _Incomplete | None = None
    response: _Answer | None = None


_answer = msgspec.json.Decoder(_Answer)
_usage = msgspec.json.Decoder(_Usage)

# `null` stands in every chunk: only what says something is worth the parsing.
_CHAT = re.compile(rb'"(?:finish_reason"[ \t\r\n]*:[ \t\r\n]*"|usage"[ \t\r\n]*:[ \t\r\n]*\{|error"[ \t\r\n]*:[ \t\r\n]*\{)')
_TYPED = re.compile(
    rb'"type"[ \t\r\n]*:[ \t\r\n]*"(?:%b|error)"' % b"|".join(re.escape(e).encode() for e in ENDS_OF_RESPONSE + ENDS_OF_MEDIA),
)
