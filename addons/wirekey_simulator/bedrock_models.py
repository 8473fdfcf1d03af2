"""Bodies of InvokeModel, plain and as events: each vendor's models have a shape of their own.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wirekey_simulator import anthropic_messages, text
from wirekey_simulator.exchange import BadRequest, Json
from wirekey_simulator.vectors import vector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wirekey_simulator.behaviour import Behaviour

EMBEDDING_DIMENSIONS = 1024


@dataclass(frozen=True, slots=True)
class ModelInvocation:
    """One InvokeModel request, as the shapes below need it."""

    model: str
    body: Json
    behaviour: Behaviour
    counts: text.TokenCounts
    id: str
    limited: bool
    """Whether the token limit of the body cut the text off."""

    def reason(self, done: str, limited: str) -> str:
        """Return `limited` if the text was cut off, else `done`."""
        return limited if self.limited else done

    @property
    def whole(self) -> str:
        """Return the whole text."""
        return text.whole(self.behaviour)

    @property
    def words(self) -> Iterator[str]:
        """Return the text in pieces."""
        return text.words(self.behaviour)

    def need(self, *names: str) -> None:
        """Raise BadRequest if the body lacks one of these members."""
        for name in names:
            if name not in self.body:
                raise BadRequest(f"Malformed input request: #: required key [{name}] not found, please reformat.")


@dataclass(frozen=True, slots=True)
class Shape:
    """The request and response bodies of one vendor's models. `stream` is None if they do not stream."""

    required: tuple[str, ...]
    plain: Callable[[ModelInvocation], Json]
    stream: Callable[[ModelInvocation], Iterator[Json]] | None


def shape_of(model: str, body: Json) -> Shape:
    """Return the shape for a model's name and the members of the body. Raises BadRequest if the vendor is unknown."""
    for name, shape in SHAPES.items():
        vendor, _, member = name.partition("?")
        if vendor in model and (not member or member in body):
            return shape
    if "anthropic_version" in body:
        return SHAPES["anthropic."]
    raise BadRequest("The provided model identifier is invalid.")


def _claude_turn(call: ModelInvocation) -> anthropic_messages.AnthropicTurn:
    anthropic_messages.check(call.body)
    if "model" in call.body or "stream" in call.body:
        raise BadRequest("model, stream: Extra inputs are not permitted")
    name = call.model.rpartition("anthropic.")[2]
    ids = f"msg_bdrk_{call.id}", f"toolu_bdrk_{call.id}"
    return anthropic_messages.AnthropicTurn(*ids, name, call.body, call.behaviour, call.counts, call.limited)


def _claude(call: ModelInvocation) -> Json:
    return anthropic_messages.message(_claude_turn(call))


def _claude_stream(call: ModelInvocation) -> Iterator[Json]:
    return anthropic_messages.events(_claude_turn(call))


def _nova_usage(call: ModelInvocation) -> Json:
    counts = call.counts
    return {
        "inputTokens": counts.input - counts.cached,
        "outputTokens": counts.output,
        "totalTokens": counts.total,
        "cacheReadInputTokenCount": counts.cached,
        "cacheWriteInputTokenCount": 0,
    }


def _nova(call: ModelInvocation) -> Json:
    said = {"content": [{"text": call.whole}], "role": "assistant"}
    return {
        "output": {"message": said},
        "stopReason": call.reason("end_turn", "max_tokens"),
        "usage": _nova_usage(call),
    }


def _nova_stream(call: ModelInvocation) -> Iterator[Json]:
    yield {"messageStart": {"role": "assistant"}}
    for piece in call.words:
        yield {"contentBlockDelta": {"delta": {"text": piece}, "contentBlockIndex": 0}}
    yield {"contentBlockStop": {"contentBlockIndex": 0}}
    yield {"messageStop": {"stopReason": call.reason("end_turn", "max_tokens")}}
    yield {"metadata": {"usage": _nova_usage(call), "metrics": {}, "trace": {}}}


def _titan(call: ModelInvocation) -> Json:
    result = {
        "tokenCount": call.counts.output,
        "outputText": call.whole,
        "completionReason": call.reason("FINISH", "LENGTH"),
    }
    return {"inputTextTokenCount": call.counts.input, "results": [result]}


def _titan_stream(call: ModelInvocation) -> Iterator[Json]:
    blank = {"outputText": "", "index": 0, "inputTextTokenCount": None}
    blank |= {"totalOutputTextTokenCount": None, "completionReason": None}
    for piece in call.words:
        yield blank | {"outputText": piece}
    yield blank | {
        "inputTextTokenCount": call.counts.input,
        "totalOutputTextTokenCount": call.counts.output,
        "completionReason": call.reason("FINISH", "LENGTH"),
    }


def _titan_embedding(call: ModelInvocation) -> Json:
    values = vector(call.body.get("dimensions") or EMBEDDING_DIMENSIONS)
    return {"embedding": values, "embeddingsByType": {"float": values}, "inputTextTokenCount": call.counts.input}


def _llama(call: ModelInvocation) -> Json:
    return {
        "generation": call.whole,
        "prompt_token_count": call.counts.input,
        "generation_token_count": call.counts.output,
        "stop_reason": call.reason("stop", "length"),
    }


def _llama_stream(call: ModelInvocation) -> Iterator[Json]:
    number = 0
    for number, piece in enumerate(call.words, 1):
        prompt = call.counts.input if number == 1 else None
        yield {
            "generation": piece,
            "prompt_token_count": prompt,
            "generation_token_count": number,
            "stop_reason": None,
        }
    yield {
        "generation": "",
        "prompt_token_count": None if number else call.counts.input,
        "generation_token_count": call.counts.output,
        "stop_reason": call.reason("stop", "length"),
    }


def _mistral(call: ModelInvocation) -> Json:
    return {"outputs": [{"text": call.whole, "stop_reason": call.reason("stop", "length")}]}


def _mistral_stream(call: ModelInvocation) -> Iterator[Json]:
    for piece in call.words:
        yield {"outputs": [{"text": piece, "stop_reason": None}]}
    yield {"outputs": [{"text": "", "stop_reason": call.reason("stop", "length")}]}


def _mistral_chat(call: ModelInvocation) -> Json:
    said = {"role": "assistant", "content": call.whole}
    return {"choices": [{"index": 0, "message": said, "stop_reason": call.reason("stop", "length")}]}


def _mistral_chat_stream(call: ModelInvocation) -> Iterator[Json]:
    for piece in call.words:
        said = {"role": "assistant", "content": piece}
        yield {"choices": [{"index": 0, "message": said, "stop_reason": None}]}
    yield {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": ""}, "stop_reason": call.reason("stop", "length")}
        ]
    }


def _command(call: ModelInvocation) -> Json:
    generation = {"id": call.id, "text": call.whole, "finish_reason": call.reason("COMPLETE", "MAX_TOKENS")}
    return {"id": call.id, "generations": [generation], "prompt": call.body["prompt"]}


def _command_stream(call: ModelInvocation) -> Iterator[Json]:
    for piece in call.words:
        yield {"text": piece, "is_finished": False, "index": 0}
    yield {"is_finished": True, "finish_reason": call.reason("COMPLETE", "MAX_TOKENS"), "index": 0}


def _command_r(call: ModelInvocation) -> Json:
    said: list[Any] = [{"role": "USER", "message": call.body["message"]}, {"role": "CHATBOT", "message": call.whole}]
    return {
        "response_id": f"{call.id}-r",
        "text": call.whole,
        "generation_id": call.id,
        "chat_history": said,
        "finish_reason": call.reason("COMPLETE", "MAX_TOKENS"),
    }


def _command_r_stream(call: ModelInvocation) -> Iterator[Json]:
    yield {"event_type": "stream-start", "is_finished": False, "generation_id": call.id}
    for piece in call.words:
        yield {"event_type": "text-generation", "is_finished": False, "text": piece}
    # Repeating the text would mean holding it, and a stream can have 1 GB.
    end = {
        "response_id": f"{call.id}-r",
        "text": "",
        "generation_id": call.id,
        "finish_reason": call.reason("COMPLETE", "MAX_TOKENS"),
    }
    yield {
        "event_type": "stream-end",
        "is_finished": True,
        "finish_reason": call.reason("COMPLETE", "MAX_TOKENS"),
        "response": end,
    }


def _cohere_embedding(call: ModelInvocation) -> Json:
    texts = call.body["texts"]
    if not isinstance(texts, list) or not texts:
        raise BadRequest("Malformed input request: #/texts: expected type: JSONArray, please reformat.")
    return {
        "id": call.id,
        "response_type": "embeddings_floats",
        "embeddings": [vector(EMBEDDING_DIMENSIONS)] * len(texts),
        "texts": texts,
    }


# Keys are a part of the model's name and, after the question mark, a member of the body. The first that fits wins.
SHAPES = {
    "anthropic.": Shape(("anthropic_version",), _claude, _claude_stream),
    "amazon.nova": Shape(("messages",), _nova, _nova_stream),
    "amazon.titan-embed": Shape(("inputText",), _titan_embedding, None),
    "amazon.titan": Shape(("inputText",), _titan, _titan_stream),
    "meta.": Shape(("prompt",), _llama, _llama_stream),
    "mistral.?messages": Shape((), _mistral_chat, _mistral_chat_stream),
    "mistral.": Shape(("prompt",), _mistral, _mistral_stream),
    "cohere.embed": Shape(("texts", "input_type"), _cohere_embedding, None),
    "cohere.?message": Shape((), _command_r, _command_r_stream),
    "cohere.": Shape(("prompt",), _command, _command_stream),
}
