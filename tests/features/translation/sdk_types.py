"""Requests and responses against the types of the providers' own SDKs: an authority that is independent of Wirekey.

Anthropic and OpenAI type requests as TypedDicts and responses as models; Google has models for both, and botocore a
service description. An unknown member is an error everywhere.
"""

from __future__ import annotations

import base64
import functools
import types as builtin_types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import botocore.session
import pydantic
import typing_extensions
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types import message_create_params as claude
from botocore.validate import ParamValidator
from google.genai import types as google
from openai.types.chat import ChatCompletion, ChatCompletionChunk, completion_create_params
from openai.types.responses import Response, ResponseStreamEvent, response_create_params

EXTRAS = {
    "openai.chat": {"reasoning_content", "native_finish_reason", "cache_write_tokens"},
    "openai.responses": {"store", "name", "cache_write_tokens"},
}
"""Members that other servers of a format have, or that the API has and its SDK does not name."""
SAMPLING = {"temperature": float, "top_p": float, "top_k": int}
"""Members that Anthropic's API takes for models before Claude Opus 4.7, and that its new SDK has no types for."""


class WrongTypeError(AssertionError):
    """A value that the SDK has no type for."""


def check_request(form: str, body: Mapping[str, Any], *, streamed: bool = False) -> None:
    """Raise WrongTypeError unless the SDK of the format could have sent this body."""
    match form:
        case "openai.chat":
            params = completion_create_params
            kind = params.CompletionCreateParamsStreaming if streamed else params.CompletionCreateParamsNonStreaming
            fits(kind, body, "body")
        case "openai.responses":
            params = response_create_params
            kind = params.ResponseCreateParamsStreaming if streamed else params.ResponseCreateParamsNonStreaming
            fits(kind, with_item_ids(body), "body")
        case "anthropic":
            kind = claude.MessageCreateParamsStreaming if streamed else claude.MessageCreateParamsNonStreaming
            fits(kind, without_sampling(body), "body")
        case "invoke":
            assert body["anthropic_version"] == "bedrock-2023-05-31"
            rest = {name: value for name, value in body.items() if name not in ("anthropic_version", "anthropic_beta")}
            fits(claude.MessageCreateParamsNonStreaming, without_sampling({"model": "in the path", **rest}), "body")
        case "gemini":
            check_gemini(body)
        case "converse":
            check_aws("ConverseStream" if streamed else "Converse", "input_shape", {"modelId": "x", **body})


def without_sampling(body: Mapping[str, Any]) -> dict[str, Any]:
    for name, kind in SAMPLING.items():
        if name in body:
            fits(kind, body[name], name)
    return {name: value for name, value in body.items() if name not in SAMPLING}


def with_item_ids(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request to Responses with what the API adds to the model's own items if they were not stored."""
    if not isinstance(body.get("input"), list):
        return dict(body)
    items = []
    for item in body["input"]:
        if item.get("role") == "assistant" and isinstance(item["content"], list):
            content = [{"annotations": [], **part} for part in item["content"]]
            items.append({"id": "msg_1", "type": "message", "status": "completed", **item, "content": content})
        else:
            items.append({"id": "rs_1", **item} if item.get("type") == "reasoning" else item)
    return {**body, "input": items}


def check_response(form: str, body: Mapping[str, Any]) -> None:
    """Raise WrongTypeError unless the SDK of the format has a type for this response."""
    match form:
        case "openai.chat":
            check_model(ChatCompletion, body, form)
        case "openai.responses":
            check_model(Response, body, form)
        case "anthropic" | "invoke":
            check_model(Message, body, form)
        case "gemini":
            check_model(google.GenerateContentResponse, body)
        case "converse":
            check_aws("Converse", "output_shape", body)


def check_event(form: str, event: Any) -> None:
    """Raise WrongTypeError unless the SDK has a type for this event of a stream. AWS's is a (name, payload)."""
    match form:
        case "openai.chat":
            check_model(ChatCompletionChunk, event, form)
        case "openai.responses":
            check_model(ResponseStreamEvent, event, form)
        case "anthropic" | "invoke":
            if event["type"] != "ping":
                check_model(RawMessageStreamEvent, event, form)
        case "gemini":
            check_model(google.GenerateContentResponse, event)
        case "converse":
            name, payload = event
            check_aws("ConverseStream", "output_shape", {"stream": {name: payload}})


@functools.cache
def adapter(model: Any) -> pydantic.TypeAdapter:
    return pydantic.TypeAdapter(model)


def check_model(model: Any, value: Any, form: str = "") -> None:
    """Check a value by a pydantic model: its members and their types, and that it has no others."""
    try:
        found = adapter(model).validate_python(value)
    except pydantic.ValidationError as error:
        raise WrongTypeError(str(error)) from None
    for place, extra in extras(found, ""):
        if extra not in EXTRAS.get(form, ()):
            raise WrongTypeError(f"{place}.{extra}: the SDK has no such member")


def extras(value: Any, place: str):
    """Yield (place, name) of each member that a model has no field for."""
    if isinstance(value, pydantic.BaseModel):
        for name in value.model_extra or ():
            yield place, name
        for name in type(value).model_fields:
            yield from extras(getattr(value, name, None), f"{place}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from extras(inner, f"{place}[{index}]")


GEMINI_MEMBERS: dict[str, Any] = {
    "contents": list[google.Content],
    "systemInstruction": google.Content,
    "tools": list[google.Tool],
    "toolConfig": google.ToolConfig,
    "safetySettings": list[google.SafetySetting],
    "generationConfig": google.GenerationConfig,
    "cachedContent": str,
    "serviceTier": str,
    "labels": dict[str, str],
}


def check_gemini(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if name not in GEMINI_MEMBERS:
            raise WrongTypeError(f"{name}: generateContent has no such member")
        check_model(GEMINI_MEMBERS[name], value)
        for place, wrong in unknown_enums(adapter(GEMINI_MEMBERS[name]).validate_python(value), name):
            raise WrongTypeError(f"{place}: {wrong} is no value that Google documents")


def unknown_enums(value: Any, place: str):
    """Yield each member of an enumeration that Google's SDK does not know. It accepts them with a warning."""
    if isinstance(value, google._common.CaseInSensitiveEnum):
        if value.value not in {known.value for known in type(value)}:
            yield place, value.value
    elif isinstance(value, pydantic.BaseModel):
        for name in type(value).model_fields:
            yield from unknown_enums(getattr(value, name), f"{place}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from unknown_enums(inner, f"{place}[{index}]")


@functools.cache
def bedrock():
    return botocore.session.get_session().get_service_model("bedrock-runtime")


def check_aws(operation: str, direction: str, value: Mapping[str, Any]) -> None:
    """Check a value by botocore's service description: its validator, and the enumerations that this one leaves out."""
    shape = getattr(bedrock().operation_model(operation), direction)
    decoded = aws_value(shape, value, operation)
    report = ParamValidator().validate(decoded, shape)
    if report.has_errors():
        raise WrongTypeError(report.generate_report())


def aws_value(shape, value, place):
    """Return a value as botocore's validator takes it: blobs as bytes. Raises WrongTypeError for what it overlooks."""
    match shape.type_name:
        case "structure" if getattr(shape, "is_document_type", False):
            return value
        case "structure" if isinstance(value, Mapping):
            for name in value:
                if name not in shape.members:
                    raise WrongTypeError(f"{place}.{name}: Bedrock has no such member")
            return {name: aws_value(shape.members[name], one, f"{place}.{name}") for name, one in value.items()}
        case "list" if isinstance(value, list):
            return [aws_value(shape.member, one, f"{place}[{index}]") for index, one in enumerate(value)]
        case "map" if isinstance(value, Mapping):
            return {name: aws_value(shape.value, one, f"{place}.{name}") for name, one in value.items()}
        case "blob":
            return base64.b64decode(value, validate=True)
        case "string" if shape.enum and value not in shape.enum:
            raise WrongTypeError(f"{place}: {value!r} is not one of {shape.enum}")
    return value


def fits(kind: Any, value: Any, place: str) -> None:
    """Raise WrongTypeError unless a JSON value is of a type of an SDK's request."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object or isinstance(kind, typing.TypeVar):
        return
    if origin in (typing.Required, typing.NotRequired, typing.Annotated, typing.ReadOnly):
        fits(arguments[0], value, place)
    elif isinstance(kind, typing.TypeAliasType):
        fits(kind.__value__, value, place)
    elif origin in (Union, builtin_types.UnionType):
        fits_one(arguments, value, place)
    elif origin is Literal:
        need(value in arguments and type(value) in {type(one) for one in arguments}, place, kind, value)
    elif typing_extensions.is_typeddict(kind):
        fits_object(kind, value, place)
    elif origin in (list, Iterable, Sequence) or getattr(origin, "__name__", "") in ("SequenceNotStr", "Iterable"):
        need(isinstance(value, list), place, kind, value)
        for index, one in enumerate(value):
            fits(arguments[0], one, f"{place}[{index}]")
    elif origin in (dict, Mapping):
        need(isinstance(value, Mapping), place, kind, value)
        for name, one in value.items():
            fits(arguments[1], one, f"{place}.{name}")
    elif kind is float:
        need(isinstance(value, int | float) and not isinstance(value, bool), place, kind, value)
    elif kind in (str, int, bool):
        need(type(value) is kind, place, kind, value)
    elif kind is type(None):
        need(value is None, place, kind, value)
    else:
        # Models and files, which a request has beside the TypedDict of the same JSON.
        raise WrongTypeError(f"{place}: {kind} is not JSON")


def need(holds: bool, place: str, kind: Any, value: Any) -> None:
    if not holds:
        raise WrongTypeError(f"{place}: {str(value)[:80]!r} is not {getattr(kind, '__name__', kind)}")


def fits_one(kinds: Sequence[Any], value: Any, place: str) -> None:
    wrong = []
    for kind in kinds:
        try:
            fits(kind, value, place)
        except WrongTypeError as error:
            wrong.append(str(error))
        else:
            return
    raise WrongTypeError(
        f"{place}: {str(value)[:300]} fits none of the {len(kinds)} types that are allowed: {wrong}"[:2000]
    )


@functools.cache
def members(kind: Any) -> dict[str, Any]:
    return typing_extensions.get_type_hints(kind, include_extras=True)


def fits_object(kind: Any, value: Any, place: str) -> None:
    need(isinstance(value, Mapping), place, kind, value)
    known = members(kind)
    for name, hint in known.items():
        # The keys that a TypedDict calls required are wrong where its annotations are text.
        explicit = get_origin(hint) in (typing.Required, typing.NotRequired)
        required = get_origin(hint) is typing.Required if explicit else name in kind.__required_keys__
        if required and name not in value:
            raise WrongTypeError(f"{place}.{name}: missing in {kind.__name__}")
    for name, one in value.items():
        if name not in known:
            raise WrongTypeError(f"{place}.{name}: {kind.__name__} has no such member")
        fits(known[name], one, f"{place}.{name}")
