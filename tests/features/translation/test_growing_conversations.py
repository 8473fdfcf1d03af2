"""Conversations as they grow: an old turn keeps its bytes, so that a provider's cache of the prompt stays of use.

Hypothesis makes conversations of texts, images, reasoning and parallel calls, and each format's own writer the request
of a client. A conversation that goes to another format and back is the same.
"""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features.translation.cases import MODELS, STATES
from wirekey.features.translation.context import Context
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.losses import Losses
from wirekey.features.translation.members import encode
from wirekey.features.translation.neutral import (
    Conversation,
    Media,
    ModelMaker,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from wirekey.features.translation.requests import read_request, translate_request

PAIRS = [(client, upstream) for client in FORMATS for upstream in FORMATS]
STATE = base64.b64encode(b"the state of some reasoning").decode()
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"place":{"type":"string"},"days":{"type":"number"}}}')
TOOLS = tuple(Tool(name, f"The {name}", SCHEMA) for name in ("forecast", "clock"))
WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
ARGUMENTS = st.sampled_from(
    ["{}", '{"place":"Zürich \\"北\\" \\\\ 🌦"}', '{"days":1.10,"place":"Lyon"}', '{"days":12345678901234567890}']
)
"""Arguments as a model wrote them: digits and the order of members must survive."""
ASKED = st.lists(st.one_of(WORDS.map(Text), st.just(Media("image", "image/png", PNG))), min_size=1, max_size=3).filter(
    lambda blocks: isinstance(blocks[0], Text)
)
EXCHANGES = st.lists(
    st.tuples(
        ASKED,
        st.none() | WORDS,
        st.lists(st.tuples(st.sampled_from(["forecast", "clock"]), ARGUMENTS, WORDS), max_size=3),
        WORDS,
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip


MAKERS = {
    "openai.responses": ModelMaker.OPENAI, "gemini": ModelMaker.GEMINI, "anthropic": ModelMaker.CLAUDE,
    "converse": ModelMaker.CLAUDE, "invoke": ModelMaker.CLAUDE,
}  # fmt: skip


def thought_by(maker, client, text):
    """Return reasoning of a maker in the place where the client keeps it: its own place, or a signed state in it."""
    attached = "call" if ModelMaker.GEMINI in {maker, MAKERS[client]} else ""
    made = Reasoning(text, STATE, maker, attached="call" if maker is ModelMaker.GEMINI else "")
    if MAKERS[client] is maker:
        return made
    signed = STATES.signed_signature([made]) if client == "gemini" else STATES.signed_text([made])
    return Reasoning(text, signed, MAKERS[client], attached=attached if client == "gemini" else "")


def turns_of(exchanges, client="", maker=None):
    """Return a conversation: what the user asks, what the model calls, the results, and its last word.

    With a maker, the calls have reasoning of its model before them, as the client keeps it.
    """
    found, number = [], 0
    for asked, thought, calls, said in exchanges:
        found.append(Turn("user", tuple(asked)))
        if calls:
            ids = [f"call_{number + at}" for at in range(len(calls))]
            number += len(calls)
            reasoning = []
            if thought and maker and client in MAKERS:
                reasoning = [thought_by(maker, client, thought)]
            made = [ToolCall(key, name, given) for key, (name, given, _) in zip(ids, calls, strict=True)]
            results = [ToolResult(key, (Text(text),)) for key, (_, _, text) in zip(ids, calls, strict=True)]
            found += [Turn("assistant", (*reasoning, *made)), Turn("user", tuple(results))]
        found.append(Turn("assistant", (Text(said),)))
    return tuple(found)


def with_signed_ids(body, exchanges, maker):
    """Return a request of Chat Completions with the reasoning of a maker in the ids of its calls, the only place."""
    number = 0
    for _, thought, calls, _ in exchanges:
        if calls and thought:
            made = Reasoning(thought, STATE, maker, attached="call" if maker is ModelMaker.GEMINI else "")
            signed = STATES.signed_id(f"call_{number}", [made])
            body = body.replace(f'"call_{number}"'.encode(), f'"{signed}"'.encode())
        number += len(calls)
    return body


def written(form, turns):
    """Return the request that a client of a format sends for a conversation."""
    losses = Losses(strict=False, allowed=(), route="")
    context = Context(FORMATS[form], FORMATS[form], MODELS[form], losses)
    return encode(FORMATS[form].write_request(Conversation(turns=turns, tools=TOOLS), context))


def sent_turns(form, body):
    """Return the bytes of each turn in a request."""
    top = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return [bytes(turn) for turn in msgspec.json.decode(top[member_of(form)], type=list[msgspec.Raw])]


def member_of(form):
    return {"gemini": "contents", "openai.responses": "input"}.get(form, "messages")


def spoken(form, body):
    """Return what is said in a request: texts, images, calls with the bytes of their arguments, results in order.

    Ids of calls are the place of the call, as formats without ids have none, and reasoning stays with its maker.
    """
    found, places = [], {}
    conversation = read_request(FORMATS[form], body, Losses(strict=False, allowed=(), route=""), STATES, stream=False)
    for turn in conversation.turns:
        for block in turn.blocks:
            match block:
                case Text():
                    found.append((turn.role, "text", block.text))
                case Media():
                    found.append((turn.role, "image", block.media_type, block.data))
                case ToolCall():
                    places[block.id] = len(places)
                    found.append((turn.role, "call", places[block.id], block.name, block.arguments))
                case ToolResult():
                    texts = [one.text for one in block.content if isinstance(one, Text)]
                    found.append((turn.role, "result", places[block.call], texts))
    return found, [(tool.name, tool.description, bytes(tool.schema or b"")) for tool in conversation.tools]


def ends(turns, end):
    """Return how many exchanges have made their calls before a turn."""
    asked = [turn for turn in turns[:end] if turn.role == "user" and isinstance(turn.blocks[0], Text)]
    return len(asked) - isinstance(turns[end - 1].blocks[0], Text)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@settings(max_examples=15)
@given(exchanges=EXCHANGES)
def test_old_turns_keep_their_bytes_as_a_conversation_grows(client, upstream, exchanges):
    turns = turns_of(exchanges, client, MAKERS.get(upstream))
    before = None
    for end in range(1, len(turns) + 1):
        if turns[end - 1].role != "user":
            continue
        body = written(client, turns[:end])
        if client == "openai.chat" and upstream in MAKERS:
            body = with_signed_ids(body, exchanges, MAKERS[upstream])
        request = translate_request(FORMATS[client], FORMATS[upstream], MODELS[upstream], body, STATES)
        made = sent_turns(upstream, request.body)
        thoughts = sum(bool(thought and calls) for _, thought, calls, _ in exchanges[: ends(turns, end)])
        assert request.body.count(STATE.encode()) == (thoughts if upstream in MAKERS else 0)
        if before is not None:
            assert made[: len(before)] == before
            assert len(made) > len(before)
        before = made


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@settings(max_examples=15)
@given(exchanges=EXCHANGES)
def test_a_conversation_that_goes_there_and_back_is_the_same(client, upstream, exchanges):
    first = written(client, turns_of(exchanges)[:-1])
    there = translate_request(FORMATS[client], FORMATS[upstream], MODELS[upstream], first, STATES)
    back = translate_request(FORMATS[upstream], FORMATS[client], MODELS[client], there.body, STATES)
    assert spoken(client, back.body) == spoken(client, first)
