"""The format of Bedrock's Converse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.converse.read_request import NAMES, read_request
from wirekey.features.translation.converse.read_response import ConverseEventReader, read_response
from wirekey.features.translation.converse.write_request import write_request
from wirekey.features.translation.converse.write_response import (
    ConverseEventWriter,
    error,
    error_headers,
    write_response,
)
from wirekey.features.translation.format import StatePlaces, TokenCounting, TranslatedFormat
from wirekey.features.translation.format_rules import AcceptedOptions, NameLimits
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.members import Members
from wirekey.features.translation.models import Traits
from wirekey.features.translation.options import SAME_TIERS
from wirekey.features.translation.own_format import IN_BYTES, IN_TEXT
from wirekey.providers.bedrock import formats

if TYPE_CHECKING:
    from msgspec import Raw

    from wirekey.core.body import RequestBody


def edit_block(block: dict[str, Raw], _: Traits) -> bool:
    """Return whether a block stays: it has no signed state."""
    data = bytes(block.get("reasoningContent", b""))
    return IN_TEXT not in data and IN_BYTES not in data


def counted_request(body: RequestBody) -> RequestBody:
    """Return the request of Converse that a client wants counted. Raises Refusal for a request of InvokeModel."""
    given = Members.of(body).members("input")
    inner = given.raw("converse") if given else None
    if inner is None:
        raise cannot_translate("input", "only a request of Converse can be counted here; send `input.converse`")
    return bytes(inner)


CONVERSE = TranslatedFormat(
    wire=formats.CONVERSE,
    member_names=NAMES,
    traits=Traits(n.ModelMaker.OTHER),
    options=AcceptedOptions(
        names=frozenset({"temperature", "top_p", "max_tokens", "top_k", "stop", "service_tier"}),
        most_temperature=1,
        most_stops=None,
        blank_stops=False,
        needs_limit=False,
        least_limit=None,
        tiers=SAME_TIERS,
        alternative=None,
    ),
    call_ids=re.compile(r"[A-Za-z0-9_.:-]{1,64}"),
    tool_names=NameLimits(re.compile(r"[A-Za-z0-9_-]{1,64}"), 64, letter_first=False),
    own_states=n.ModelMaker.CLAUDE,
    binary_states=True,
    accepts_blank_text=False,
    beta_makers=frozenset({n.ModelMaker.CLAUDE}),
    describes_output=True,
    always_strict=False,
    cache_breakpoints=False,
    usual_model="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    read_request=read_request,
    write_request=write_request,
    counting=TokenCounting(
        form="converse",
        path="/model/{model}/count-tokens",
        members=frozenset({"messages", "system", "toolConfig", "additionalModelRequestFields"}),
        inner=counted_request,
        request=lambda _, members: {"input": {"converse": members}},
        number="inputTokens",
        beside={},
    ),
    state_places=StatePlaces("content", (IN_TEXT, IN_BYTES), edit_block),
    read_response=read_response,
    write_response=write_response,
    event_reader=ConverseEventReader,
    event_writer=ConverseEventWriter,
    stream_type=lambda _: "application/vnd.amazon.eventstream",
    interleaves=False,
    cites=False,
    error=error,
    error_headers=error_headers,
)
