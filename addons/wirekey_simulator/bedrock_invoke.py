"""InvokeModel and InvokeModelWithResponseStream: what they wrap around the vendors' bodies."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from wirekey_simulator import text
from wirekey_simulator.bedrock_models import ModelInvocation, Shape, shape_of
from wirekey_simulator.bedrock_stream import stream_response
from wirekey_simulator.eventstream import message
from wirekey_simulator.exchange import BadRequest, Json, SimulatedResponse, encode, json_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.behaviour import Behaviour

LATENCY_MS = 42


def invoke(model: str, body: Json, behaviour: Behaviour, number: str) -> SimulatedResponse:
    """Return the response of InvokeModel.

    Raises BadRequest if the vendor is unknown or the body lacks a required member.
    """
    call, shape = _call(model, body, behaviour, number)
    counts = call.counts
    headers = {
        "input-token-count": counts.input - counts.cached,
        "output-token-count": 0 if "embed" in model else counts.output,
        "invocation-latency": LATENCY_MS,
        "cache-read-input-token-count": counts.cached,
        "cache-write-input-token-count": 0,
    }
    return json_response(
        shape.plain(call), headers=[(f"x-amzn-bedrock-{name}", str(value)) for name, value in headers.items()]
    )


def invoke_stream(model: str, body: Json, behaviour: Behaviour, number: str) -> SimulatedResponse:
    """Return the response of InvokeModelWithResponseStream. Raises BadRequest as `invoke` does."""
    call, shape = _call(model, body, behaviour, number)
    if shape.stream is None:
        raise BadRequest("The model is not supported for streaming.")
    headers = [("x-amzn-bedrock-content-type", "application/json")]
    return stream_response(_chunks(shape.stream(call), call), "chunk", headers)


def _chunks(events: Iterator[Json], call: ModelInvocation) -> Iterator[bytes]:
    """Frame the events. The last one carries the counts."""
    event = next(events)
    for following in events:
        yield _chunk(event)
        event = following
    if not call.behaviour.no_done:
        counts = call.counts
        metrics = {
            "inputTokenCount": counts.input - counts.cached,
            "outputTokenCount": counts.output,
            "invocationLatency": LATENCY_MS,
            "firstByteLatency": 7,
        }
        if counts.cached:
            metrics |= {"cacheReadInputTokenCount": counts.cached, "cacheWriteInputTokenCount": 0}
        yield _chunk(event | {"amazon-bedrock-invocationMetrics": metrics})


def _chunk(event: Json) -> bytes:
    return message("chunk", b'{"bytes":"%b","p":"abcdefghijk"}' % b64encode(encode(event)))


def _call(model: str, body: Json, behaviour: Behaviour, number: str) -> tuple[ModelInvocation, Shape]:
    behaviour, limited = text.limited(behaviour, _most_tokens(body))
    call = ModelInvocation(model, body, behaviour, text.counts(behaviour, body), number, limited)
    shape = shape_of(model, body)
    call.need(*shape.required)
    return call, shape


def _most_tokens(body: Json) -> Any:
    """Return the token limit. Each vendor has a name of its own for it."""
    for settings in (body, body.get("inferenceConfig"), body.get("textGenerationConfig")):
        for name in ("max_tokens", "maxTokens", "max_new_tokens", "maxTokenCount", "max_gen_len"):
            if isinstance(settings, dict) and name in settings:
                return settings[name]
    return None
