"""The format of OpenAI's Chat Completions."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from wirekey.features.translation import neutral as n
from wirekey.features.translation import openai
from wirekey.features.translation.format import StatePlaces, TranslatedFormat
from wirekey.features.translation.format_rules import AcceptedOptions
from wirekey.features.translation.members import encode
from wirekey.features.translation.models import Traits
from wirekey.features.translation.openai_chat.read_request import NAMES, read_request
from wirekey.features.translation.openai_chat.read_response import ChatEventReader, read_response
from wirekey.features.translation.openai_chat.write_request import write_request
from wirekey.features.translation.openai_chat.write_response import ChatEventWriter, write_response
from wirekey.features.translation.options import SAME_TIERS
from wirekey.features.translation.own_format import IN_ID, shorten
from wirekey.providers.openai import formats

_CALLS: msgspec.json.Decoder[list[dict[str, Raw]]] = msgspec.json.Decoder(list[dict[str, Raw]])


def edit_message(message: dict[str, Raw], _: Traits) -> bool:
    """Cut signed state off the ids of a message. Every message stays."""
    shorten(message, "tool_call_id")
    if "tool_calls" in message:
        calls = _CALLS.decode(message["tool_calls"])
        for call in calls:
            shorten(call, "id")
        message["tool_calls"] = Raw(encode(calls))
    return True


CHAT = TranslatedFormat(
    wire=formats.CHAT,
    member_names=NAMES,
    traits=Traits(n.ModelMaker.OTHER, "effort"),
    options=AcceptedOptions(
        names=openai.OPTIONS
        | {"stop", "n", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "prediction"},
        most_temperature=None,
        most_stops=4,
        blank_stops=True,
        needs_limit=False,
        least_limit=None,
        tiers=SAME_TIERS,
        alternative=None,
    ),
    call_ids=re.compile(r"[\x20-\x7e]{1,40}"),
    tool_names=openai.TOOL_NAMES,
    own_states=None,
    binary_states=False,
    accepts_blank_text=True,
    beta_makers=frozenset(),
    describes_output=False,
    always_strict=False,
    cache_breakpoints=True,
    usual_model="gpt-4o-mini",
    read_request=read_request,
    write_request=write_request,
    counting=None,
    state_places=StatePlaces(None, (IN_ID,), edit_message),
    read_response=read_response,
    write_response=write_response,
    event_reader=ChatEventReader,
    event_writer=ChatEventWriter,
    stream_type=lambda _: "text/event-stream",
    interleaves=True,
    cites=True,
    error=openai.error,
    error_headers=openai.error_headers,
)
