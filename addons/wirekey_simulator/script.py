"""How tests control the simulator if their client cannot set headers: the paths under `/__simulator__/`.

| request | effect |
|---|---|
| `POST next` `{"behaviour": "fail=429", "times": 2}` | sets the behaviour of the next two calls |
| `POST open` | releases the streams that wait at the gate |
| `GET seen` | lists what arrived, with credentials as prefixes of their SHA-256 and without content |
| `POST reset` | clears what arrived, what is scripted and what is stored |
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from wirekey_simulator.behaviour import PLAIN, Behaviour, behaviour_of_model, parse_behaviour
from wirekey_simulator.exchange import BadRequest, SimulatedRequest, SimulatedResponse, json_response
from wirekey_simulator.strictness import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey_simulator.delivery import Gate
    from wirekey_simulator.exchange import Seen

PREFIX = "/__simulator__/"
MODEL_NAMES = (b'"model"', b'"modelId"', b'name="model"')

parse = lru_cache(maxsize=256)(parse_behaviour)


class Script:
    """The behaviours of the next calls."""

    def __init__(self) -> None:
        self._next: deque[str] = deque()
        self.usual = ""
        """The default behaviour of all calls."""

    def add(self, behaviour: str, times: int = 1) -> None:
        """Set the behaviour of the next `times` calls. Raises ValueError as parse_behaviour does."""
        parse(behaviour)
        self._next.extend([behaviour] * times)

    def clear(self) -> None:
        """Remove all behaviours that are still to come."""
        self._next.clear()

    def behaviour_of(self, request: SimulatedRequest) -> Behaviour:
        """Return the behaviour of one call, from its model name, the script and its header. The later one wins."""
        texts = [self._next.popleft()] if self._next else []
        if b"sim-" in request.body or "sim-" in request.path:
            texts.insert(0, behaviour_of_model(model_named(request)))
        if self.usual:
            texts.insert(0, self.usual)
        texts += request.fields.get("x-simulator", [])
        return parse(*texts) if texts else PLAIN

    def responds_early(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Return whether a request gets its response before its end, by its head alone."""
        said = [self.usual, *islice(self._next, 1)]
        said += [value.decode("latin-1") for name, value in headers if name.lower() == b"x-simulator"]
        return any("early" in text for text in said)


def model_named(request: SimulatedRequest) -> str:
    """Return the model name in path or body without parsing either."""
    if "sim-" in request.path:
        return next((part for part in request.path.replace("%3A", ":").split("/") if "sim-" in part), "")
    for name in MODEL_NAMES:
        at = request.body.find(name)
        if at >= 0:
            text = request.body[at + len(name) : at + len(name) + 200].lstrip(b' :"\r\n')
            return text.partition(b'"')[0].split()[0].decode("utf-8", "replace") if text else ""
    return ""


class Controlled(Protocol):
    """A simulator as its paths control it."""

    seen: deque[Seen]
    script: Script
    gate: Gate

    def reset(self) -> None:
        """Clear what arrived, what is scripted and what is stored. Release waiting streams."""


def control(simulator: Controlled, request: SimulatedRequest) -> SimulatedResponse:
    """Return the response to a request under PREFIX."""
    action = f"{request.method} {request.path.removeprefix(PREFIX)}"
    if action == "GET seen":
        return json_response([shown(seen) for seen in simulator.seen])
    if action == "POST open":
        return json_response({"opened": simulator.gate.open()})
    if action == "POST reset":
        simulator.reset()
        return json_response({"reset": True})
    if action == "POST next":
        try:
            wish = request.json()
            simulator.script.add(str(wish.get("behaviour", "")), int(wish.get("times", 1)))
        except (ValueError, TypeError) as error:
            return json_response({"error": str(error)}, 400)
        except BadRequest as error:
            return json_response({"error": error.message}, error.status)
        return json_response({"scripted": wish.get("times", 1)})
    return json_response({"error": "known are: POST next, POST open, GET seen, POST reset"}, 404)
