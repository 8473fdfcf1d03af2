"""The format of Gemini's generateContent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Raw

from wirekey.features.translation import neutral as n
from wirekey.features.translation.format import StatePlaces, TokenCounting, TranslatedFormat
from wirekey.features.translation.format_rules import AcceptedOptions, NameLimits
from wirekey.features.translation.gemini.read_request import NAMES, read_request
from wirekey.features.translation.gemini.read_response import GeminiEventReader, read_response
from wirekey.features.translation.gemini.write_request import write_request
from wirekey.features.translation.gemini.write_response import GeminiEventWriter, error, write_response
from wirekey.features.translation.members import Members, encode
from wirekey.features.translation.models import Traits
from wirekey.features.translation.own_format import IN_SIGNATURE, begins
from wirekey.features.translation.state import SKIP_SIGNATURE
from wirekey.providers.gemini import formats

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody


def edit_part(part: dict[str, Raw], traits: Traits) -> bool:
    """Remove signed state from a part, and return whether the part stays."""
    # Google reads either spelling of a member, and LiteLLM and LangChain mix them.
    name = "thought_signature" if "thought_signature" in part else "thoughtSignature"
    if begins(part.get(name), IN_SIGNATURE):
        del part[name]
        if traits.signatures and ("functionCall" in part or "function_call" in part):
            part[name] = Raw(encode(SKIP_SIGNATURE))
        return not (bytes(part.get("thought", b"false")) == b"true" or bytes(part.get("text", b"x")) == b'""')
    return True


def counted_request(body: RequestBody) -> RequestBody:
    """Return the request that a client wants counted: it may be inside another object."""
    inner = Members.of(body, either_spelling=True).raw("generateContentRequest")
    return body if inner is None else bytes(inner)


GEMINI = TranslatedFormat(
    wire=formats.GENERATE_CONTENT,
    member_names=NAMES,
    traits=Traits(n.ModelMaker.GEMINI),
    options=AcceptedOptions(
        names=frozenset(
            {
                "temperature",
                "top_p",
                "max_tokens",
                "top_k",
                "stop",
                "n",
                "seed",
                "presence_penalty",
                "frequency_penalty",
                "logprobs",
                "top_logprobs",
                "service_tier",
                "safety_settings",
                "cached_content",
                "gemini_safety_settings",
                "gemini_cached_content",
            }
        ),
        most_temperature=None,
        most_stops=5,
        blank_stops=True,
        needs_limit=False,
        least_limit=None,
        tiers={"default": "STANDARD", "flex": "FLEX", "priority": "PRIORITY"},
        alternative=None,
    ),
    call_ids=re.compile(r"[\s\S]+"),
    tool_names=NameLimits(re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}"), 128, letter_first=True),
    own_states=n.ModelMaker.GEMINI,
    binary_states=False,
    accepts_blank_text=True,
    beta_makers=frozenset(),
    describes_output=False,
    always_strict=False,
    cache_breakpoints=False,
    usual_model="gemini-2.5-flash",
    read_request=read_request,
    write_request=write_request,
    counting=TokenCounting(
        form="gemini",
        path="/v1beta/models/{model}:countTokens",
        members=frozenset({"contents", "systemInstruction", "tools", "toolConfig"}),
        inner=counted_request,
        request=lambda model, members: {"generateContentRequest": {"model": f"models/{model}", **members}},
        number="totalTokens",
        beside={},
    ),
    state_places=StatePlaces("parts", (IN_SIGNATURE,), edit_part),
    read_response=read_response,
    write_response=write_response,
    event_reader=GeminiEventReader,
    event_writer=GeminiEventWriter,
    stream_type=lambda query: "text/event-stream" if "alt=sse" in query else "application/json",
    interleaves=True,
    cites=False,
    error=error,
    error_headers=lambda _: {},
)
