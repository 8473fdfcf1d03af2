"""The text that is stored of a conversation, and the request for a summary of a long one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.model_name import ModelName
from wirekey.providers.format import SystemPrompt
from wirekey.providers.formats import FORMATS
from wirekey.providers.openai.formats import CHAT
from wirekey.providers.registry import owner_of_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CONTEXT = "Context of the conversation so far:"
TRANSCRIPT = "Its latest messages, word for word:"
MOST_OUTPUT_TOKENS = 4096
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    """A request for a summary. `form`: the format of its response."""

    provider: str
    path: str
    body: bytes = field(repr=False)
    form: str
    headers: Mapping[str, str]


BODIES: Mapping[SystemPrompt, Callable[[str, str], dict[str, object]]] = {
    SystemPrompt.MESSAGE: lambda prompt, text: {
        "messages": [{"role": "system", "content": prompt}, {"role": "user", "content": text}]
    },
    SystemPrompt.CONTENT: lambda prompt, text: {
        "systemInstruction": {"parts": [{"text": prompt}]},
        "contents": [{"role": "user", "parts": [{"text": text}]}],
    },
    SystemPrompt.TEXT_OR_BLOCKS: lambda prompt, text: {
        "max_tokens": MOST_OUTPUT_TOKENS, "system": prompt, "messages": [{"role": "user", "content": text}]
    },
    SystemPrompt.BLOCKS: lambda prompt, text: {
        "system": [{"text": prompt}], "messages": [{"role": "user", "content": [{"text": text}]}]
    },
}  # fmt: skip
"""The body of a request beside its model, of system prompt and conversation. Other providers are called in a chat."""


def json_text(encoded: Sequence[bytes]) -> str:
    """Return messages as one JSON text."""
    return "[" + ",".join(message.decode() for message in encoded) + "]"


def summary_request(model: str, prompt: str, conversation: str, default_backend: str | None = None) -> SummaryRequest:
    """Return the request for a summary of a conversation, in the own format of the model's provider.

    `model`: a model string. Without the prefix of a provider, its name says the provider, as at the gateway.
    """
    name = ModelName.parse(model)
    provider = name.provider or owner_of_model(name.name, default_backend)
    form = next((form for form in FORMATS.values() if form.called == provider and form.system in BODIES), CHAT)
    assert form.called
    members = BODIES[form.system](prompt, conversation)
    body = members if "{model}" in form.paths.whole else {"model": model, **members}
    path, _ = form.paths.of(model, stream=False)
    return SummaryRequest(form.called, path, _encode(body), form.name, form.headers)


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
