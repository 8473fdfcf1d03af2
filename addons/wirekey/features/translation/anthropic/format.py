"""The format of Anthropic's Messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.anthropic.read_request import NAMES, read_request
from wirekey.features.translation.anthropic.read_response import AnthropicEventReader, read_response
from wirekey.features.translation.anthropic.write_request import write_request
from wirekey.features.translation.anthropic.write_response import AnthropicEventWriter, error, write_response
from wirekey.features.translation.format import (
    StatePlaces,
    TokenCounting,
    TranslatedFormat,
)
from wirekey.features.translation.format_rules import AcceptedOptions, NameLimits
from wirekey.features.translation.models import CLAUDE_LATEST
from wirekey.features.translation.own_format import IN_TEXT, begins
from wirekey.providers.anthropic import formats

if TYPE_CHECKING:
    from msgspec import Raw

    from wirekey.features.translation.models import Traits


def edit_block(block: dict[str, Raw], _: Traits) -> bool:
    """Return whether a block stays: it has no signed state."""
    return not any(begins(block.get(name), IN_TEXT) for name in ("signature", "data"))


ANTHROPIC = TranslatedFormat(
    wire=formats.MESSAGES,
    member_names=NAMES,
    traits=CLAUDE_LATEST,
    options=AcceptedOptions(
        names=frozenset({"temperature", "top_p", "max_tokens", "top_k", "stop", "service_tier"}),
        most_temperature=1,
        most_stops=None,
        blank_stops=False,
        needs_limit=True,
        least_limit=None,
        tiers={"default": "standard_only"},
        alternative=None,
    ),
    call_ids=re.compile(r"[A-Za-z0-9_-]+"),
    tool_names=NameLimits(re.compile(r"[A-Za-z0-9_-]{1,128}"), 128, letter_first=False),
    own_states=n.ModelMaker.CLAUDE,
    binary_states=False,
    accepts_blank_text=False,
    beta_makers=frozenset(),
    describes_output=False,
    always_strict=False,
    cache_breakpoints=False,
    usual_model="claude-sonnet-4-5",
    read_request=read_request,
    write_request=write_request,
    counting=TokenCounting(
        form="anthropic",
        path="/v1/messages/count_tokens",
        members=frozenset({"model", "messages", "system", "thinking", "tool_choice", "tools", "output_config"}),
        inner=lambda body: body,
        request=lambda _, members: members,
        number="input_tokens",
        beside={},
    ),
    state_places=StatePlaces("content", (IN_TEXT,), edit_block),
    read_response=read_response,
    write_response=write_response,
    event_reader=AnthropicEventReader,
    event_writer=AnthropicEventWriter,
    stream_type=lambda _: "text/event-stream",
    interleaves=False,
    cites=False,
    error=error,
    error_headers=lambda _: {},
)
