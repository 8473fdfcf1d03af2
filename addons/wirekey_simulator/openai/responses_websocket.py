"""`/v1/responses` over a WebSocket: https://developers.openai.com/api/docs/guides/websocket-mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wsproto.frame_protocol import CloseReason

from wirekey_simulator.exchange import BadRequest
from wirekey_simulator.members import objects
from wirekey_simulator.openai import responses
from wirekey_simulator.openai.parameters import optional, required
from wirekey_simulator.openai.responses_rules import check_responses
from wirekey_simulator.websocket import opening

if TYPE_CHECKING:
    from wirekey_simulator.exchange import Json, SimulatedResponse
    from wirekey_simulator.openai.call import OpenAICall
    from wirekey_simulator.websocket import SimulatedWebSocket

OF_THE_CONNECTION = ("type", "stream_id", "generate")
"""Members of an event that are none of `POST /v1/responses`."""
NOTHING_USED = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


def connect(call: OpenAICall) -> SimulatedResponse:
    """Return the response that opens a connection."""
    return opening(call.request, ResponsesConversation(call), ())


class ResponsesConversation:
    """One connection. It remembers what it has said, so that the next request needs only what is new."""

    def __init__(self, call: OpenAICall) -> None:
        self.call = call
        self.turns: dict[str, tuple[Json, list[Json]]] = {}
        """Response → its request with all of its input, and all items up to its end."""

    def opened(self, socket: SimulatedWebSocket) -> None:
        """Send nothing: the client begins."""

    def received(self, socket: SimulatedWebSocket, event: Json) -> None:
        """Respond to an event. Raises BadRequest."""
        match event.get("type"):
            case "response.create":
                self.create(socket, event)
            case "response.steer":
                self.steer(socket, event)
            case "response.processed":
                required(event, "response_id", str)
            case kind:
                raise BadRequest(f"Invalid value: {kind!r}.", code="invalid_value", field="type")

    def create(self, socket: SimulatedWebSocket, event: Json) -> None:
        """Send the events of a response."""
        lane, generates = optional(event, "stream_id", str), optional(event, "generate", bool) is not False
        if event.get("background"):
            raise BadRequest("Background responses are not supported over WebSockets.", field="background")
        body = {name: value for name, value in event.items() if name not in OF_THE_CONNECTION}
        given = required(body, "input", str, list)
        items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else objects(given)
        before = body.pop("previous_response_id", None)
        body["input"] = [*self.said_before(before), *items] if before else items
        self.respond(socket, body, before, lane, generates=generates)

    def said_before(self, response: Any) -> list[Json]:
        """Return the items up to the end of a response. Raises BadRequest."""
        if response in self.turns:
            return self.turns[response][1]
        stored = self.call.state.shelf(responses.SHELF).get(response)
        if stored is None:
            raise BadRequest(
                f"Previous response with id '{response}' not found.",
                code="previous_response_not_found",
                field="previous_response_id",
            )
        return [*self.call.state.shelf(responses.INPUTS).get(response, []), *stored["output"]]

    def respond(
        self, socket: SimulatedWebSocket, body: Json, before: str | None, lane: str | None, *, generates: bool = True
    ) -> None:
        """Send the events of a response to a request with all of its input."""
        response = responses.unfinished(body, self.call.state) | {"previous_response_id": before}
        check_responses(body)
        at = {"stream_id": lane} if lane is not None else {}
        last: Json = {}
        if generates:
            for event in responses.streamed(response, body, self.call):
                socket.say(event | at)
                last = event.get("response") or last
        else:
            last = response | {"status": "completed", "usage": NOTHING_USED}
            socket.say({"type": "response.created", "sequence_number": 0, "response": response} | at)
            socket.say({"type": "response.completed", "sequence_number": 1, "response": last} | at)
        self.turns[response["id"]] = body, [*body["input"], *last["output"]]
        if socket.behaviour.no_done:
            socket.close(CloseReason.NO_STATUS_RCVD)

    def steer(self, socket: SimulatedWebSocket, event: Json) -> None:
        """Continue a response with more input. Raises BadRequest."""
        before, given = required(event, "previous_response_id", str), required(event, "input", str, list)
        if before not in self.turns:
            raise BadRequest("There is no such response to steer.", code="response_not_found")
        body, items = self.turns[before]
        added = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else objects(given)
        steer = {"id": self.call.state.new_id("steer_"), "previous_response_id": before}
        socket.say({"type": "response.steer.accepted", "sequence_number": 0, "steer": steer})
        self.respond(socket, body | {"input": [*items, *added]}, before, None)

    def refused(self, error: BadRequest, event: Any) -> Json:
        """Return the error event."""
        failure = {
            "type": "invalid_request_error",
            "code": error.code,
            "message": error.message,
            "param": error.field,
        }
        lane = event.get("stream_id") if isinstance(event, dict) else None
        at = {"stream_id": lane} if isinstance(lane, str) else {}
        return {"type": "error", "status": error.status, "error": failure} | at
