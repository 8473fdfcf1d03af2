"""What tests tell the simulator, for clients that cannot set headers: the paths under `/__simulator__/`.

| request | does |
|---|---|
| `POST next` `{"behaviour": "fail=429", "times": 2}` | the next two calls behave so |
| `POST open` | lets through the streams that wait at the gate |
| `GET seen` | what arrived; credentials as prefixes of their SHA-256, no content |
| `POST reset` | forgets what arrived, what is scripted and what is stored |
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from wirekey_simulator.behaviour import PLAIN, Behaviour, behaviour_of_model, parse_behaviour
from wirekey_simulator.exchange import BadRequest, SimulatedRequest, SimulatedResponse, json_response
from wirekey_simulator.strictness import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey_simulator.server import Simulator

PREFIX = "/__simulator__/"
MODEL_NAMES = (b'"model"', b'"modelId"', b'name="model"')

parse = lru_cache(maxsize=256)(parse_behaviour)


class Script:
    """The behaviours that the next calls will have."""

    def __init__(self) -> None:
        self._next: deque[str] = deque()
        self.usual = ""
        """How all calls behave, where nothing else is said."""

    def add(self, behaviour: str, times: int = 1) -> None:
        """Let the next `times` calls behave so. Raises ValueError as parse_behaviour does."""
        parse(behaviour)
        self._next.extend([behaviour] * times)

    def clear(self) -> None:
        self._next.clear()

    def behaviour_of(self, request: SimulatedRequest) -> Behaviour:
        """Give the behaviour for one call: of its model's name, of the script, of its header; later ones win."""
        texts = [self._next.popleft()] if self._next else []
        if b"sim-" in request.body or "sim-" in request.path:
            texts.insert(0, behaviour_of_model(model_named(request)))
        if self.usual:
            texts.insert(0, self.usual)
        texts += request.fields.get("x-simulator", [])
        return parse(*texts) if texts else PLAIN

    def responds_early(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Tell, by the head of a request alone, whether it is answered before its end."""
        said = [self.usual, *islice(self._next, 1)]
        said += [value.decode("latin-1") for name, value in headers if name.lower() == b"x-simulator"]
        return any("early" in text for text in said)


def model_named(request: SimulatedRequest) -> str:
    """Find the model's name in path or body without reading either whole."""
    if "sim-" in request.path:
        return next((part for part in request.path.replace("%3A", ":").split("/") if "sim-" in part), "")
    for name in MODEL_NAMES:
        at = request.body.find(name)
        if at >= 0:
            text = request.body[at + len(name) : at + len(name) + 200].lstrip(b' :"\r\n')
            return text.partition(b'"')[0].split()[0].decode("utf-8", "replace") if text else ""
    return ""


def control(simulator: Simulator, request: SimulatedRequest) -> SimulatedResponse:
    """Answer a request to a path under PREFIX."""
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
