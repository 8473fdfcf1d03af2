"""`/v1/completions`, the legacy form, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey_simulator import text
from wirekey_simulator.exchange import Json, SimulatedResponse, json_response, sse, sse_response
from wirekey_simulator.openai.chat import DONE, STREAM_ERROR
from wirekey_simulator.openai.parameters import completion_usage, model, optional, required, streams_with_usage
from wirekey_simulator.state import CREATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.openai.call import OpenAICall


def create(call: OpenAICall) -> SimulatedResponse:
    """Return a completion, whole or streamed."""
    body = call.request.json()
    stream, with_usage = streams_with_usage(body)
    facts: Json = {
        "id": call.state.new_id("cmpl-"),
        "object": "text_completion",
        "created": CREATED,
        "model": model(body),
    }
    required(body, "prompt", str, list)
    behaviour, cut = text.limited(call.behaviour, optional(body, "max_tokens", int))
    finish = "length" if cut else "stop"
    usage = completion_usage(text.counts(behaviour, body))
    if stream:
        return sse_response(_events(facts, behaviour, finish, usage if with_usage else None), STREAM_ERROR)
    return json_response({**facts, "choices": [_choice(text.whole(behaviour), finish)], "usage": usage})


def _choice(piece: str, finish: str | None = None) -> Json:
    return {"text": piece, "index": 0, "logprobs": None, "finish_reason": finish}


def _events(facts: Json, behaviour: Behaviour, finish: str, usage: Json | None) -> Iterator[bytes]:
    more = {} if usage is None else {"usage": None}
    for word in text.words(behaviour):
        yield sse({**facts, "choices": [_choice(word)], **more})
    yield sse({**facts, "choices": [_choice("", finish)], **more})
    if usage is not None:
        yield sse({**facts, "choices": [], "usage": usage})
    if not behaviour.no_done:
        yield DONE
