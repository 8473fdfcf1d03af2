"""The text that is stored of a conversation, and the request for a summary of a long one."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from wirekey.core.model_name import ModelName
from wirekey.providers.registry import owner_of_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CONTEXT = "Context of the conversation so far:"
TRANSCRIPT = "Its latest messages, word for word:"
MOST_OUTPUT_TOKENS = 4096
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    """A request for a summary. `form`: the format of its response."""

    provider: str
    path: str
    body: bytes = field(repr=False)
    form: str
    headers: Mapping[str, str] = NO_HEADERS


def json_text(encoded: Sequence[bytes]) -> str:
    """Return messages as one JSON text."""
    return "[" + ",".join(message.decode() for message in encoded) + "]"


def summary_request(model: str, prompt: str, conversation: str, default_backend: str | None = None) -> SummaryRequest:
    """Return the request for a summary of a conversation, in the own format of the model's provider.

    `model`: a model string. Without the prefix of a provider, its name says the provider, as at the gateway.
    """
    name = ModelName.parse(model)
    provider = name.provider or owner_of_model(name.name, default_backend)
    return REQUESTS.get(provider, openai_request)(model, prompt, conversation)


def gemini_request(model: str, prompt: str, conversation: str) -> SummaryRequest:
    """Return a request for Gemini's generateContent."""
    body = {
        "systemInstruction": {"parts": [{"text": prompt}]},
        "contents": [{"role": "user", "parts": [{"text": conversation}]}],
    }
    return SummaryRequest("gemini", f"/v1beta/models/{quote(model, safe='')}:generateContent", _encode(body), "gemini")


def openai_request(model: str, prompt: str, conversation: str) -> SummaryRequest:
    """Return a request for OpenAI's Chat Completions."""
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": conversation}]
    body = {"model": model, "messages": messages}
    return SummaryRequest("openai", "/v1/chat/completions", _encode(body), "openai.chat")


def anthropic_request(model: str, prompt: str, conversation: str) -> SummaryRequest:
    """Return a request for Anthropic's Messages."""
    messages = [{"role": "user", "content": conversation}]
    body = {"model": model, "max_tokens": MOST_OUTPUT_TOKENS, "system": prompt, "messages": messages}
    version = {"anthropic-version": "2023-06-01"}
    return SummaryRequest("anthropic", "/v1/messages", _encode(body), "anthropic", version)


def converse_request(model: str, prompt: str, conversation: str) -> SummaryRequest:
    """Return a request for Converse on Bedrock."""
    body = {"system": [{"text": prompt}], "messages": [{"role": "user", "content": [{"text": conversation}]}]}
    return SummaryRequest("bedrock", f"/model/{quote(model, safe='')}/converse", _encode(body), "converse")


REQUESTS: Mapping[str, Callable[[str, str, str], SummaryRequest]] = MappingProxyType(
    {
        "gemini": gemini_request,
        "openai": openai_request,
        "anthropic": anthropic_request,
        "bedrock": converse_request,
    }
)
"""Provider → its request, of model, system prompt and conversation. Others are called in the format of OpenAI."""


def summarised(context: str, encoded: Sequence[bytes], starts: Sequence[int], room: int, *, verbatim: bool) -> str:
    """Return the text that is stored of a long conversation: its context in short, and its latest messages.

    `starts`: the places of the messages with which the user begins. The messages are as many of the last ones as fit
    into `room` characters, from one of these places on. `verbatim` False: none.
    """
    parts = [CONTEXT, context.strip()]
    if verbatim:
        latest = next((json_text(encoded[start:]) for start in starts if len(json_text(encoded[start:])) <= room), None)
        if latest:
            parts += ["", TRANSCRIPT, latest]
    return "\n".join(parts)
