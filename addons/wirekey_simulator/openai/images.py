"""`/v1/images/…`: the smallest PNG, or bytes of the requested size."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from wirekey_simulator import text
from wirekey_simulator.exchange import Json, SimulatedRequest, SimulatedResponse, json_response, sse, sse_response
from wirekey_simulator.openai.chat import STREAM_ERROR
from wirekey_simulator.openai.form import read_form
from wirekey_simulator.openai.parameters import number, required
from wirekey_simulator.state import CREATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.openai.call import OpenAICall

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
FACTS = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}


def generate(call: OpenAICall) -> SimulatedResponse:
    """Return generated images."""
    body = call.request.json()
    required(body, "prompt", str)
    return _images("image_generation", body, call.behaviour, call.request)


def edit(call: OpenAICall) -> SimulatedResponse:
    """Return the images of edits and variations, whose requests contain a picture."""
    form = read_form(call.request)
    if form.whole:
        form.file("image", "image[]")
    body: Json = {**form.fields, "stream": form.fields.get("stream") == "true"}
    for name in {"n", "partial_images"} & body.keys():
        # A form has no numbers. A field that is not one is refused where a number is required.
        body[name] = int(body[name]) if body[name].isascii() and body[name].isdigit() else body[name]
    return _images("image_edit", body, call.behaviour, call.request)


def _images(kind: str, body: Json, behaviour: Behaviour, request: SimulatedRequest) -> SimulatedResponse:
    count = number(body, "n", 1, 1, 10)
    picture = base64.b64encode(PNG if behaviour.size is None else PNG.ljust(behaviour.size, b"\0")).decode()
    usage = _usage(text.counts(behaviour, {"prompt": body.get("prompt", "")}))
    if body.get("stream"):
        partial = number(body, "partial_images", 0, 0, 3)
        return sse_response(_events(kind, picture, partial, usage), STREAM_ERROR)
    # Only newer models report usage, and they return no URL.
    if str(body.get("model", "dall-e-2")).startswith("dall-e"):
        linked = body.get("response_format", "url") == "url"
        image = {"url": f"{request.base_url}/pictures/simulated.png"} if linked else {"b64_json": picture}
        return json_response({"created": CREATED, "data": [image] * count})
    return json_response({"created": CREATED, "data": [{"b64_json": picture}] * count, **FACTS, "usage": usage})


def _usage(counts: text.TokenCounts) -> Json:
    return {
        "input_tokens": counts.input,
        "output_tokens": counts.output,
        "total_tokens": counts.total,
        "input_tokens_details": {"text_tokens": counts.input, "image_tokens": 0},
    }


def _events(kind: str, picture: str, partial: int, usage: Json) -> Iterator[bytes]:
    def event(step: str, **more: Any) -> bytes:
        name = f"{kind}.{step}"
        return sse({"type": name, "b64_json": picture, "created_at": CREATED, **FACTS, **more}, event=name)

    for index in range(partial):
        yield event("partial_image", partial_image_index=index)
    yield event("completed", usage=usage)
