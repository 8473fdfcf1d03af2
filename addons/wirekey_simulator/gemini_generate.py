"""generateContent and streamGenerateContent, the latter as server-sent events and as one JSON array."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from wirekey_simulator import session, text
from wirekey_simulator.exchange import (
    BadRequest,
    Json,
    SimulatedRequest,
    SimulatedResponse,
    encode,
    json_response,
    sse,
    sse_response,
)
from wirekey_simulator.gemini_rules import SIGNING, check_gemini
from wirekey_simulator.members import child, objects
from wirekey_simulator.signatures import signature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State

THOUGHT = "Nothing to think about."
MEMBERS = frozenset(
    """cachedContent contents generationConfig labels model safetySettings serviceTier store systemInstruction
    toolConfig tools cached_content generation_config safety_settings service_tier system_instruction
    tool_config""".split()  # noqa: SIM905 - 17 lines of names otherwise
)
MID_STREAM_ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
SEPARATOR = b"\n,\r\n"


@dataclass(frozen=True)
class GeminiTurn:
    """One response of the model."""

    model: str
    body: Json
    behaviour: Behaviour
    counts: text.TokenCounts
    response_id: str
    limited: bool
    """Whether maxOutputTokens cut the text off."""

    @cached_property
    def plan(self) -> session.Plan:
        """The calls and the text of the response."""
        offered = [
            (function.get("name"), function.get("parameters") or function.get("parametersJsonSchema"))
            for tool in objects(self.body.get("tools"))
            for function in objects(tool.get("functionDeclarations", tool.get("function_declarations")))
        ]
        config = self.body.get("generationConfig", self.body.get("generation_config"))
        kind = child(config, "responseMimeType") or child(config, "response_mime_type")
        return session.planned(self.body, offered, structured=kind == "application/json")

    @property
    def calls(self) -> list[Json]:
        """The parts with function calls. The first one is signed after a thought, and by each model that demands it."""
        parts: list[Json] = [{"functionCall": {"name": name, "args": given}} for name, given in self.plan.calls]
        if parts and (self.plan.thought is not None or SIGNING.match(self.model)):
            parts[0]["thoughtSignature"] = signature("gemini", parts[0]["functionCall"])
        return parts

    @property
    def thought(self) -> list[Json]:
        """The part with a thought, if the request asks to see it."""
        thinking = child(self.body, "generationConfig", "thinkingConfig")
        if not (child(thinking, "includeThoughts") or child(thinking, "include_thoughts")):
            return []
        return [{"text": self.plan.thought or THOUGHT, "thought": True}]

    def usage(self, output: int) -> Json:
        """Return the token counts. `candidatesTokenCount` excludes thoughts. Cached and thoughts appear only if any."""
        counts = self.counts
        made: Json = {
            "promptTokenCount": counts.input,
            "candidatesTokenCount": output,
            "totalTokenCount": counts.input + output + counts.reasoning,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": counts.input}],
        }
        if counts.cached:
            made["cachedContentTokenCount"] = counts.cached
            made["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": counts.cached}]
        if counts.reasoning:
            made["thoughtsTokenCount"] = counts.reasoning
        return made

    def response(self, parts: list[Json], output: int, *, last: bool = True) -> Json:
        """Return one response object with these parts. `output`: tokens so far."""
        candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if last:
            candidate["finishReason"] = "MAX_TOKENS" if self.limited and not self.plan.calls else "STOP"
        return {
            "candidates": [candidate],
            "usageMetadata": self.usage(output),
            "modelVersion": self.model,
            "responseId": self.response_id,
        }


def generate(model: str, request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return the response of generateContent. Raises BadRequest."""
    turn = _turn(model, request, behaviour, state)
    said = [] if turn.plan.text is None else [{"text": text.whole(turn.behaviour, turn.plan.text)}]
    parts = [*turn.thought, *said, *turn.calls]
    return json_response(turn.response(parts, turn.counts.output - turn.counts.reasoning))


def stream_generate(model: str, request: SimulatedRequest, behaviour: Behaviour, state: State) -> SimulatedResponse:
    """Return a stream of events if the query has `alt=sse`, else of the elements of an array."""
    turn = _turn(model, request, behaviour, state)
    turn.plan  # noqa: B018 - a refusal comes before the stream
    if request.parameter("alt") == "sse":
        return sse_response(map(sse, _responses(turn)), sse(MID_STREAM_ERROR))
    return SimulatedResponse(
        200,
        [("content-type", "application/json; charset=UTF-8")],
        pieces=_array(_responses(turn)),
        error_piece=SEPARATOR + _pretty(MID_STREAM_ERROR) + b"\n]",
        garbled_piece=SEPARATOR + b'{"unfinished": [1, }',
    )


def _turn(model: str, request: SimulatedRequest, behaviour: Behaviour, state: State) -> GeminiTurn:
    body = request.json()
    if unknown := next((name for name in body if name not in MEMBERS), None):
        raise BadRequest(f'Invalid JSON payload received. Unknown name "{unknown}": Cannot find field.')
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise BadRequest("* GenerateContentRequest.contents: contents is not specified")
    for index, content in enumerate(contents):
        if not isinstance(content, dict) or not isinstance(content.get("parts"), list):
            raise BadRequest(f"* GenerateContentRequest.contents[{index}].parts: contents.parts must not be empty.")
        if content.get("role") not in (None, "user", "model", "function"):
            raise BadRequest("Please use a valid role: user, model.")
    check_gemini(model, body)
    settings = body.get("generationConfig", body.get("generation_config"))
    most = child(settings, "maxOutputTokens") or child(settings, "max_output_tokens")
    behaviour, limited = text.limited(behaviour, most)
    return GeminiTurn(model, body, behaviour, text.counts(behaviour, body), state.new_id("sim"), limited)


def _responses(turn: GeminiTurn) -> Iterator[Json]:
    """Yield one response object after the other. The counts grow, and the last one has the finish reason."""
    output = turn.counts.output - turn.counts.reasoning
    if turn.thought:
        yield turn.response(turn.thought, 0, last=False)
    calls = turn.calls
    if turn.plan.text is None:
        for number, call in enumerate(calls, 1):
            yield turn.response([call], output, last=number == len(calls))
        return
    words = text.words(turn.behaviour, turn.plan.text)
    said = next(words, "")
    for number, following in enumerate(words, 1):
        yield turn.response([{"text": said}], min(number, output), last=False)
        said = following
    if calls:
        yield turn.response([{"text": said}], output, last=False)
        yield turn.response(calls, output)
    elif not turn.behaviour.no_done:
        yield turn.response([{"text": said}], output)


def _array(responses: Iterator[Json]) -> Iterator[bytes]:
    opening = b"["
    for response in responses:
        yield opening + _pretty(response)
        opening = SEPARATOR
    yield b"[]" if opening == b"[" else b"\n]"


def _pretty(value: Json) -> bytes:
    return msgspec.json.format(encode(value), indent=2)
