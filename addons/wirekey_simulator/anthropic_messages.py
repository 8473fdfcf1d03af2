"""Messages as Anthropic writes them, whole and as the events of a stream; Bedrock's Claude writes the same.

The shapes are those of https://docs.anthropic.com/en/api/messages and /messages-streaming.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wirekey_simulator import session, text
from wirekey_simulator.claude_rules import check_claude
from wirekey_simulator.exchange import BadRequest, Json, encode
from wirekey_simulator.members import child, objects
from wirekey_simulator.signatures import signature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.behaviour import Behaviour

THOUGHT = "Nothing to think about."
PARTIAL_JSON_CHARACTERS = 12


@dataclass(frozen=True)
class AnthropicTurn:
    """One response of the model: an optional thought, then text, tool calls, or both."""

    message_id: str
    tool_id: str
    model: str
    body: Json
    behaviour: Behaviour
    counts: text.TokenCounts
    limited: bool
    """Whether max_tokens cut the text off."""

    @cached_property
    def plan(self) -> session.Plan:
        """The calls and the text of the response."""
        tools = sorted(objects(self.body.get("tools")), key=lambda tool: "input_schema" not in tool)
        offered = [(tool.get("name"), tool.get("input_schema")) for tool in tools]
        structured = child(self.body, "output_config", "format") or self.body.get("output_format")
        return session.planned(self.body, offered, structured=bool(structured))

    @property
    def thought(self) -> str | None:
        """The reasoning before the response, or None if the request or the test asks for none."""
        asked = child(self.body, "thinking", "type") in ("enabled", "adaptive")
        if asked and self.plan.thought:
            return self.plan.thought
        return THOUGHT if self.counts.reasoning else None

    @property
    def calls(self) -> list[Json]:
        """The `tool_use` blocks."""
        ids = [self.tool_id, *(f"{self.tool_id}{number}" for number in range(1, len(self.plan.calls)))]
        return [
            {"type": "tool_use", "id": key, "name": name, "input": given}
            for key, (name, given) in zip(ids, self.plan.calls, strict=False)
        ]

    @property
    def stop_reason(self) -> str:
        """Return the `stop_reason` of the message."""
        return "tool_use" if self.plan.calls else "max_tokens" if self.limited else "end_turn"

    def usage(self, output_tokens: int) -> Json:
        """Return the token counts. Unlike with other providers, `input_tokens` excludes those read from a cache."""
        return {
            "input_tokens": self.counts.input - self.counts.cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": self.counts.cached,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output_tokens,
            "service_tier": "standard",
            **{name: self.body[name] for name in ("speed", "inference_geo") if self.body.get(name)},
        }

    def envelope(self) -> Json:
        """Return the message without content, as `message_start` carries it."""
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self.usage(1),
        }

    @property
    def reasoning(self) -> Json:
        """Return the thinking block."""
        if not self.counts.reasoning:
            return {}
        return {"output_tokens_details": {"thinking_tokens": self.counts.reasoning}}


def turn_of(body: Json, behaviour: Behaviour, model: str, message_id: str, tool_id: str) -> AnthropicTurn:
    """Return the turn that a request body and a behaviour ask for."""
    behaviour, limited = text.limited(behaviour, body["max_tokens"])
    return AnthropicTurn(message_id, tool_id, model, body, behaviour, text.counts(behaviour, body), limited)


def check(body: Json) -> None:
    """Raise BadRequest in the provider's words if a member that every message request has is missing."""
    for name in ("max_tokens", "messages"):
        if name not in body:
            raise BadRequest(f"{name}: Field required", field=name)
    if not isinstance(body["max_tokens"], int) or isinstance(body["max_tokens"], bool):
        raise BadRequest("max_tokens: Input should be a valid integer", field="max_tokens")
    if body["max_tokens"] < 1:
        raise BadRequest("max_tokens: Input should be greater than or equal to 1", field="max_tokens")
    check_messages(body)


def check_messages(body: Json) -> None:
    """Check the shape of `messages`. Raises BadRequest in the provider's words."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise BadRequest("messages: Input should be a valid list", field="messages")
    if not messages:
        raise BadRequest("messages: at least one message is required", field="messages")
    for index, message in enumerate(messages):
        roles = ("user", "assistant", "system") if index else ("user", "assistant")
        if not isinstance(message, dict) or message.get("role") not in roles:
            raise BadRequest(f"messages.{index}.role: Input should be 'user' or 'assistant'", field="messages")
        if not isinstance(message.get("content"), str | list):
            raise BadRequest(f"messages.{index}.content: Field required", field="messages")
    check_claude(body)


def message(turn: AnthropicTurn) -> Json:
    """Return the whole message as JSON."""
    content: list[Json] = []
    if turn.thought is not None:
        content.append({"type": "thinking", "thinking": turn.thought, "signature": signature("claude", turn.thought)})
    if turn.plan.text is not None:
        content.append({"type": "text", "text": text.whole(turn.behaviour, turn.plan.text)})
    content += turn.calls
    usage = turn.usage(turn.counts.output) | turn.reasoning
    return turn.envelope() | {"content": content, "stop_reason": turn.stop_reason, "usage": usage}


def events(turn: AnthropicTurn) -> Iterator[Json]:
    """Return the events of a stream, message_start to message_stop, one at a time."""
    yield {"type": "message_start", "message": turn.envelope()}
    index = 0
    if (thought := turn.thought) is not None:
        yield from _block(index, {"type": "thinking", "thinking": "", "signature": ""}, _thinking_deltas(thought))
        index += 1
    if (said := turn.plan.text) is not None:
        pieces = ({"type": "text_delta", "text": piece} for piece in text.words(turn.behaviour, said))
        yield from _block(index, {"type": "text", "text": ""}, pieces, ping=True)
        index += 1
    for number, call in enumerate(turn.calls, index):
        yield from _block(number, {**call, "input": {}}, _tool_deltas(call["input"]))
    counts = turn.usage(turn.counts.output)
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": turn.stop_reason, "stop_sequence": None},
        "usage": {name: counts[name] for name in names} | turn.reasoning,
    }
    yield {"type": "message_stop"}


def _block(index: int, start: Json, deltas: Iterator[Json], *, ping: bool = False) -> Iterator[Json]:
    yield {"type": "content_block_start", "index": index, "content_block": start}
    if ping:
        yield {"type": "ping"}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _thinking_deltas(thought: str) -> Iterator[Json]:
    middle = len(thought) // 2
    for piece in (thought[:middle], thought[middle:]):
        yield {"type": "thinking_delta", "thinking": piece}
    yield {"type": "signature_delta", "signature": signature("claude", thought)}


def _tool_deltas(given: Any) -> Iterator[Json]:
    """Cut the JSON of the arguments anywhere, as the provider does; the first piece is empty."""
    arguments = encode(given).decode()
    yield {"type": "input_json_delta", "partial_json": ""}
    for start in range(0, len(arguments), PARTIAL_JSON_CHARACTERS):
        yield {"type": "input_json_delta", "partial_json": arguments[start : start + PARTIAL_JSON_CHARACTERS]}
