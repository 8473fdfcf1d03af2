"""The responses of the Bedrock runtime: https://docs.aws.amazon.com/bedrock/latest/APIReference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import unquote

from wirekey_simulator import session, signed_events, sigv4, text
from wirekey_simulator.bedrock_invoke import invoke, invoke_stream
from wirekey_simulator.bedrock_services import service_response
from wirekey_simulator.bedrock_stream import CONTENT_TYPE, stream_response
from wirekey_simulator.converse_rules import check_converse
from wirekey_simulator.eventstream import message
from wirekey_simulator.exchange import BadRequest, Json, SimulatedRequest, SimulatedResponse, encode, json_response
from wirekey_simulator.members import child, objects
from wirekey_simulator.signatures import signature

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State

ERROR_TYPES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    413: "ValidationException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
WRONG_CREDENTIAL_STATUS = 403
MISSING = "Missing Authentication Token"
PATH = re.compile(r"/model/(.+)/(converse|converse-stream|invoke|invoke-with-response-stream|count-tokens)")
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
LATENCY_MS = 42
REQUEST_ID = "00000000-0000-4000-8000-000000000000"
THOUGHT = "Nothing to think about."


def check_credentials(request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
    """Check the Bedrock API key in the bearer token. Return None if it is right, else the provider's sentence."""
    scheme, _, key = request.header("authorization").partition(" ")
    if scheme == "AWS4-HMAC-SHA256":
        return (
            "The simulator knows no AWS key pairs, and so no signatures. Use a Bedrock API key, "
            "tell it the pairs (aws_credentials), or let it accept signatures unverified."
        )
    if scheme.lower() != "bearer" or not key:
        return MISSING
    return None if keys is None or key in keys else "Authentication failed: Please make sure your API Key is valid."


def failure(status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:  # noqa: ARG001 - alike for all providers
    """Return an error response in AWS's shape."""
    kind = ERROR_TYPES.get(status, "InternalServerException" if status >= 500 else "ValidationException")
    if message.startswith("Unknown operation"):
        kind = "UnknownOperationException"
    elif message == MISSING:
        kind = "MissingAuthenticationTokenException"
    return json_response(
        {"message": message}, status, [("x-amzn-requestid", REQUEST_ID), ("x-amzn-errortype", f"{kind}:")]
    )


def respond(request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return the response to a request. Raises BadRequest if the provider would refuse it."""
    if request.streams:
        return two_way_response(request)
    match = PATH.fullmatch(request.path)
    if not match or request.method != "POST":
        if made := service_response(request, behaviour):
            made.headers.append(("x-amzn-requestid", state.new_id("00000000-0000-4000-8000-", digits=12)))
            return made
        raise BadRequest(f"Unknown operation: {request.method} {request.path}", status=404)
    model, operation = unquote(match[1]), match[2]
    if not MODEL.fullmatch(model):
        raise BadRequest("The provided model identifier is invalid.")
    body = request.json()
    # Ids in bodies come from the request, so that tests can compare bodies that are opaque to the SDK.
    number = request.sha256[:24]
    if operation == "invoke":
        made = invoke(model, body, behaviour, number)
    elif operation == "invoke-with-response-stream":
        made = invoke_stream(model, body, behaviour, number)
    elif operation == "count-tokens":
        made = _count_tokens(body, behaviour)
    else:
        made = _converse(model, body, behaviour, number, stream=operation == "converse-stream")
    made.headers.append(("x-amzn-requestid", state.new_id("00000000-0000-4000-8000-", digits=12)))
    return made


def two_way_response(request: SimulatedRequest) -> SimulatedResponse:
    """Accept a stream in both directions, whose events the server then passes on. Raises BadRequest."""
    if request.header("x-amz-content-sha256") != signed_events.PAYLOAD or not sigv4.is_signed(request):
        raise BadRequest("This operation needs signed events. API keys do not support it.", status=403)
    if request.header("content-type") != CONTENT_TYPE:
        raise BadRequest("The content type of a stream is wrong.")
    return SimulatedResponse(200, [])


def _count_tokens(body: Json, behaviour: Behaviour) -> SimulatedResponse:
    wrapped = body.get("input")
    if not isinstance(wrapped, dict) or not ({"converse", "invokeModel"} & set(wrapped)):
        raise BadRequest("1 validation error detected: Value at 'input' failed to satisfy constraint")
    return json_response({"inputTokens": text.counts(behaviour, wrapped).input})


@dataclass(frozen=True)
class ConverseTurn:
    """The response of the model to one Converse request."""

    body: Json
    behaviour: Behaviour
    counts: text.TokenCounts
    tool_id: str
    limited: bool
    """Whether maxTokens cut the text off."""

    @cached_property
    def plan(self) -> session.Plan:
        """The calls and the text of the response."""
        tools = objects([tool.get("toolSpec") for tool in objects(child(self.body, "toolConfig", "tools"))])
        offered = [(tool.get("name"), child(tool, "inputSchema", "json")) for tool in tools]
        return session.planned(
            self.body, offered, structured=child(self.body, "outputConfig", "textFormat", "type") == "json_schema"
        )

    @property
    def thought(self) -> str | None:
        """The reasoning before the response, or None if the request or the test asks for none."""
        fields = self.body.get("additionalModelRequestFields")
        asked = child(fields, "thinking", "type") in ("enabled", "adaptive") or child(fields, "reasoningConfig")
        if asked and self.plan.thought:
            return self.plan.thought
        return THOUGHT if self.counts.reasoning else None

    @property
    def calls(self) -> list[Json]:
        """The tool uses."""
        ids = [self.tool_id, *(f"{self.tool_id}{number}" for number in range(1, len(self.plan.calls)))]
        return [
            {"toolUseId": key, "name": name, "input": given}
            for key, (name, given) in zip(ids, self.plan.calls, strict=False)
        ]

    @property
    def stop_reason(self) -> str:
        """Return the `stopReason` of the response."""
        return "tool_use" if self.plan.calls else "max_tokens" if self.limited else "end_turn"

    @property
    def usage(self) -> Json:
        """Return the token counts. `inputTokens` excludes those read from a cache; the total includes all."""
        return {
            "inputTokens": self.counts.input - self.counts.cached,
            "outputTokens": self.counts.output,
            "totalTokens": self.counts.total,
            "cacheReadInputTokens": self.counts.cached,
            "cacheWriteInputTokens": 0,
            "serverToolUsage": {},
        }


def _converse(model: str, body: Json, behaviour: Behaviour, number: str, *, stream: bool) -> SimulatedResponse:
    _check(body)
    check_converse(model, body)
    behaviour, limited = text.limited(behaviour, child(body, "inferenceConfig", "maxTokens"))
    turn = ConverseTurn(body, behaviour, text.counts(behaviour, body), f"tooluse_{number}", limited)
    turn.plan  # noqa: B018 - a refusal comes before the stream
    if stream:
        return stream_response(_framed(turn), "messageStart")
    content: list[Json] = []
    if (thought := turn.thought) is not None:
        shown = {"text": thought, "signature": signature("claude", thought)}
        content.append({"reasoningContent": {"reasoningText": shown}})
    if turn.plan.text is not None:
        content.append({"text": text.whole(behaviour, turn.plan.text)})
    content += [{"toolUse": call} for call in turn.calls]
    return json_response(
        {
            "metrics": {"latencyMs": LATENCY_MS},
            "output": {"message": {"content": content, "role": "assistant"}},
            "stopReason": turn.stop_reason,
            "usage": turn.usage,
        }
    )


def _check(body: Json) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("The messages field is required. Add at least one message and try your request again.")
    for index, turn in enumerate(messages):
        if not isinstance(turn, dict) or turn.get("role") not in ("user", "assistant"):
            raise BadRequest(f"Value at 'messages.{index + 1}.member.role' failed to satisfy constraint")
        if not isinstance(turn.get("content"), list):
            raise BadRequest(f"Value at 'messages.{index + 1}.member.content' failed to satisfy constraint")
    if messages[0]["role"] != "user":
        raise BadRequest("A conversation must start with a user message. Try again with such a conversation.")


def _framed(turn: ConverseTurn) -> Iterator[bytes]:
    """Frame the events. Each is padded, as Bedrock does, so that its size does not give away its text."""
    for number, (kind, payload) in enumerate(_events(turn)):
        if kind == "metadata" and turn.behaviour.no_done:
            return
        payload["p"] = PADDING[: 3 + number * 7 % 58]
        yield message(kind, encode(payload))


def _events(turn: ConverseTurn) -> Iterator[tuple[str, Json]]:
    yield "messageStart", {"role": "assistant"}
    index = 0
    if (thought := turn.thought) is not None:
        parts = ({"text": thought}, {"signature": signature("claude", thought)})
        yield from _block(index, ({"reasoningContent": part} for part in parts))
        index += 1
    if turn.plan.text is not None:
        yield from _block(index, ({"text": piece} for piece in text.words(turn.behaviour, turn.plan.text)))
        index += 1
    for number, call in enumerate(turn.calls, index):
        start = {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}
        yield "contentBlockStart", {"contentBlockIndex": number, "start": start}
        arguments = encode(call["input"]).decode()
        middle = len(arguments) // 2
        yield from _block(number, ({"toolUse": {"input": part}} for part in (arguments[:middle], arguments[middle:])))
    yield "messageStop", {"stopReason": turn.stop_reason}
    yield "metadata", {"metrics": {"latencyMs": LATENCY_MS}, "usage": turn.usage}


def _block(index: int, deltas: Iterator[Json]) -> Iterator[tuple[str, Json]]:
    for delta in deltas:
        yield "contentBlockDelta", {"contentBlockIndex": index, "delta": delta}
    yield "contentBlockStop", {"contentBlockIndex": index}
