"""OpenAI Realtime: https://platform.openai.com/docs/guides/realtime-websocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wsproto.frame_protocol import CloseReason

from wirekey_simulator import text
from wirekey_simulator.exchange import BadRequest
from wirekey_simulator.members import child
from wirekey_simulator.websocket import opening

if TYPE_CHECKING:
    from wirekey_simulator.exchange import SimulatedResponse
    from wirekey_simulator.openai.call import OpenAICall
    from wirekey_simulator.websocket import SimulatedWebSocket

PROTOCOLS = ("realtime", "openai-beta.realtime-v1")
AUDIO_SHARE = 2
"""One token in `AUDIO_SHARE` is audio."""


def connect(call: OpenAICall) -> SimulatedResponse:
    """Return the response that opens a session."""
    model = call.request.parameter("model")
    if not model and not call.request.parameter("intent") and not call.request.parameter("call_id"):
        raise BadRequest("You must provide a model parameter.", code="missing_model")
    return opening(call.request, RealtimeConversation(call, model or "gpt-realtime"), PROTOCOLS)


class RealtimeConversation:
    """One session: its settings, and the items of its conversation."""

    def __init__(self, call: OpenAICall, model: str) -> None:
        self.call = call
        self.settings: dict[str, Any] = {"type": "realtime", "id": self.new_id("sess_"), "model": model}
        self.items: list[dict[str, Any]] = []

    def new_id(self, prefix: str) -> str:
        """Return a new id."""
        return self.call.state.new_id(prefix, 21)

    def say(self, socket: SimulatedWebSocket, kind: str, **members: Any) -> None:
        """Send an event."""
        socket.say({"type": kind, "event_id": self.new_id("event_"), **members})

    def opened(self, socket: SimulatedWebSocket) -> None:
        """Report the session."""
        self.say(socket, "session.created", session={"object": "realtime.session", **self.settings})

    def received(self, socket: SimulatedWebSocket, event: dict[str, Any]) -> None:
        """Respond to an event. Raises BadRequest."""
        match event.get("type"):
            case "session.update":
                self.settings |= child(event, "session") or {}
                self.say(socket, "session.updated", session={"object": "realtime.session", **self.settings})
            case "conversation.item.create":
                item = {
                    "id": self.new_id("item_"),
                    "object": "realtime.item",
                    "status": "completed",
                    **(child(event, "item") or {}),
                }
                self.items.append(item)
                self.say(socket, "conversation.item.added", previous_item_id=None, item=item)
                self.say(socket, "conversation.item.done", previous_item_id=None, item=item)
            case "input_audio_buffer.append":
                if not isinstance(event.get("audio"), str):
                    raise BadRequest("Missing required parameter: 'audio'.", field="audio")
            case "input_audio_buffer.commit":
                self.commit(socket)
            case "response.create":
                self.respond(socket, child(event, "response") or {})
            case "response.cancel" | "input_audio_buffer.clear" | "output_audio_buffer.clear":
                raise BadRequest("Cancellation failed: no active response found", code="response_cancel_not_active")
            case kind:
                raise BadRequest(f"Invalid value: {kind!r}.", code="invalid_value", field="type")

    def commit(self, socket: SimulatedWebSocket) -> None:
        """Transcribe the input if the session asks for it, and respond unasked if it detects voice activity."""
        item_id = self.new_id("item_")
        self.say(socket, "input_audio_buffer.committed", previous_item_id=None, item_id=item_id)
        heard = child(self.settings, "audio", "input")
        if child(heard, "transcription"):
            usage = {
                "type": "tokens",
                "input_tokens": 14,
                "output_tokens": 6,
                "total_tokens": 20,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
            }
            kind = "conversation.item.input_audio_transcription.completed"
            self.say(socket, kind, item_id=item_id, content_index=0, transcript="Hello.", usage=usage)
        if child(heard, "turn_detection"):
            self.respond(socket, {})

    def respond(self, socket: SimulatedWebSocket, options: dict[str, Any]) -> None:
        """Send a response with the words of the simulator."""
        response_id, item_id = self.new_id("resp_"), self.new_id("item_")
        limit = options.get("max_output_tokens", self.settings.get("max_output_tokens"))
        behaviour, is_cut = text.limited(self.call.behaviour, limit)
        response: dict[str, Any] = {
            "object": "realtime.response",
            "id": response_id,
            "status": "in_progress",
            "output": [],
        }
        self.say(socket, "response.created", response=response)
        item = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
        }
        place = {"response_id": response_id, "output_index": 0}
        self.say(socket, "response.output_item.added", **place, item={**item, "content": []})
        said = ""
        for piece in text.words(behaviour):
            said += piece
            self.say(socket, "response.output_text.delta", **place, item_id=item_id, content_index=0, delta=piece)
        self.say(socket, "response.output_text.done", **place, item_id=item_id, content_index=0, text=said)
        done = {**item, "status": "completed", "content": [{"type": "output_text", "text": said}]}
        self.say(socket, "response.output_item.done", **place, item=done)
        counts = text.counts(behaviour, {"input": [*self.items, options, self.settings.get("instructions", "")]})
        heard, audio_output = counts.input // AUDIO_SHARE, counts.output // AUDIO_SHARE
        response |= {
            "status": "incomplete" if is_cut else "completed",
            "status_details": {"type": "incomplete", "reason": "max_output_tokens"} if is_cut else None,
            "output": [done],
            "usage": {
                "total_tokens": counts.total,
                "input_tokens": counts.input,
                "output_tokens": counts.output,
                "input_token_details": {
                    "cached_tokens": counts.cached,
                    "text_tokens": counts.input - heard,
                    "audio_tokens": heard,
                },
                "output_token_details": {"text_tokens": counts.output - audio_output, "audio_tokens": audio_output},
            },
        }
        self.say(socket, "response.done", response=response)
        if behaviour.no_done:
            socket.close(CloseReason.NO_STATUS_RCVD)

    def refused(self, error: BadRequest, event: Any) -> dict[str, Any]:
        """Return the error event."""
        named = event.get("event_id") if isinstance(event, dict) else None
        failure = {
            "type": "invalid_request_error",
            "code": error.code,
            "message": error.message,
            "param": error.field,
            "event_id": named,
        }
        return {"type": "error", "event_id": self.new_id("event_"), "error": failure}
