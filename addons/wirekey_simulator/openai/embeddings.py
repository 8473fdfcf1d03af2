"""`/v1/embeddings`: unit vectors drawn from a hash of the text."""

from __future__ import annotations

import base64
import hashlib
import math
from array import array
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from wirekey_simulator import reports, text
from wirekey_simulator.exchange import BadRequest, SimulatedResponse, encode, json_response
from wirekey_simulator.openai.parameters import model, optional, required

if TYPE_CHECKING:
    from wirekey_simulator.openai.call import OpenAICall

DIMENSIONS = {"text-embedding-3-large": 3072}
USUAL_DIMENSIONS = 1536
MOST_INPUTS = 2048


def create(call: OpenAICall) -> SimulatedResponse:
    """Return one embedding for each input."""
    body = call.request.json()
    name = model(body)
    given = required(body, "input", str, list)
    # A text, or a list of tokens, is one input.
    inputs = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    if len(inputs) > MOST_INPUTS:
        raise BadRequest(f"'$.input' is too long: at most {MOST_INPUTS} inputs.", field="input")
    size = optional(body, "dimensions", int) or DIMENSIONS.get(name, USUAL_DIMENSIONS)
    if not 1 <= size <= 3072:
        raise BadRequest("Invalid value for 'dimensions': expected 1 to 3072.", field="dimensions")
    kind = optional(body, "encoding_format", str) or "float"
    if kind not in ("float", "base64"):
        raise BadRequest(f"Invalid value for 'encoding_format': '{kind}'.", field="encoding_format")
    data = [
        {"object": "embedding", "index": index, "embedding": _written(encode(item), size, kind)}
        for index, item in enumerate(inputs)
    ]
    tokens = text.counts(call.behaviour, {"input": given}).input
    reports.record("openai", call.request, name, text.TokenCounts(tokens, 0, 0, 0), call.state, kind="embeddings")
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_response({"object": "list", "data": data, "model": name, "usage": usage})


@lru_cache(maxsize=64)
def vector(content: bytes, size: int) -> tuple[float, ...]:
    """Return the vector of length 1 for this content."""
    drawn = array("h", hashlib.shake_256(content).digest(2 * size))
    length = math.sqrt(sum(number * number for number in drawn)) or 1.0
    return tuple(number / length for number in drawn)


def _written(content: bytes, size: int, kind: str) -> Any:
    numbers = vector(content, size)
    return base64.b64encode(array("f", numbers).tobytes()).decode() if kind == "base64" else numbers
