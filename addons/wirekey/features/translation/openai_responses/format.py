"""The format of OpenAI's Responses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation import openai
from wirekey.features.translation.format import StatePlaces, TokenCounting, TranslatedFormat
from wirekey.features.translation.format_rules import AcceptedOptions
from wirekey.features.translation.models import Traits
from wirekey.features.translation.openai_chat.format import CHAT
from wirekey.features.translation.openai_responses.read_request import NAMES, read_request
from wirekey.features.translation.openai_responses.read_response import read_response
from wirekey.features.translation.openai_responses.read_stream import ResponsesEventReader
from wirekey.features.translation.openai_responses.write_request import write_request
from wirekey.features.translation.openai_responses.write_response import write_response
from wirekey.features.translation.openai_responses.write_stream import ResponsesEventWriter
from wirekey.features.translation.options import SAME_TIERS
from wirekey.features.translation.own_format import IN_BOTH, IN_ID, IN_TEXT, begins, shorten
from wirekey.providers.openai import formats

if TYPE_CHECKING:
    from msgspec import Raw


def edit_item(item: dict[str, Raw], _: Traits) -> bool:
    """Cut signed state off the id of an item, and return whether the item stays."""
    shorten(item, "call_id")
    return not begins(item.get("encrypted_content"), IN_TEXT)


RESPONSES = TranslatedFormat(
    wire=formats.RESPONSES,
    member_names=NAMES,
    traits=Traits(n.ModelMaker.OPENAI, "effort"),
    options=AcceptedOptions(
        names=openai.OPTIONS | {"truncation", "context_management"},
        most_temperature=None,
        most_stops=None,
        blank_stops=True,
        needs_limit=False,
        least_limit=16,
        tiers=SAME_TIERS,
        alternative=(CHAT.name, CHAT.options.names),
    ),
    call_ids=re.compile(r"[\x20-\x7e]{1,64}"),
    tool_names=openai.TOOL_NAMES,
    own_states=n.ModelMaker.OPENAI,
    binary_states=False,
    accepts_blank_text=True,
    beta_makers=frozenset(),
    describes_output=False,
    always_strict=True,
    cache_breakpoints=True,
    usual_model="gpt-5",
    read_request=read_request,
    write_request=write_request,
    counting=TokenCounting(
        form="openai.responses",
        path="/v1/responses/input_tokens",
        members=frozenset(
            {
                "model",
                "input",
                "instructions",
                "parallel_tool_calls",
                "reasoning",
                "text",
                "tool_choice",
                "tools",
            }
        ),
        inner=lambda body: body,
        request=lambda _, members: members,
        number="input_tokens",
        beside={"object": "response.input_tokens"},
    ),
    state_places=StatePlaces(None, (IN_ID, IN_TEXT), edit_item, in_each=IN_BOTH),
    read_response=read_response,
    write_response=write_response,
    event_reader=ResponsesEventReader,
    event_writer=ResponsesEventWriter,
    stream_type=lambda _: "text/event-stream",
    interleaves=False,
    cites=True,
    error=openai.error,
    error_headers=openai.error_headers,
)
