"""Every member that a request of a format may have, from the types of the provider's own SDK, with a value for each.

`missing_members(format, body)` walks a request and its type together, and yields each member that some object in it
could have besides, as (place, body with that member).
"""

from __future__ import annotations

import copy
import enum
import types as builtin_types
import typing
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import pydantic
import typing_extensions
from anthropic.types import message_create_params as claude
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from tests.features.translation.sdk_types import GEMINI_MEMBERS, WrongTypeError, bedrock, fits, members

ROOTS: dict[str, Any] = {
    "openai.chat": completion_create_params.CompletionCreateParamsNonStreaming,
    "openai.responses": response_create_params.ResponseCreateParamsNonStreaming,
    "anthropic": claude.MessageCreateParamsNonStreaming,
    "invoke": claude.MessageCreateParamsNonStreaming,
}
WORD = "canary"


def missing_members(form: str, body: dict) -> Iterator[tuple[str, dict]]:
    """Yield (place without indices, body) for each member that an object of a request could have and has not."""
    if form == "gemini":
        known = {name: Field(hint) for name, hint in GEMINI_MEMBERS.items()}
        found = list(walked(Object(known), body, ()))
    elif form == "converse":
        shape = bedrock().operation_model("Converse").input_shape
        found = list(walked(aws_kind(shape), body, ()))
    else:
        found = list(walked(typed_kind(ROOTS[form], body), body, ()))
    for path, known in found:
        here = at(body, path)
        for name, field in known.items():
            if name in here:
                continue
            changed = copy.deepcopy(body)
            at(changed, path)[name] = field.sample()
            yield ".".join(part for part in (*path, name) if isinstance(part, str)), changed


def objects(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path to each object in a JSON value."""
    if isinstance(value, dict):
        yield path
        for name, one in value.items():
            yield from objects(one, (*path, name))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from objects(one, (*path, index))


def at(value: Any, path: tuple) -> Any:
    """Return what stands at a path."""
    for part in path:
        value = value[part]
    return value


class Field:
    """A member of a TypedDict or of a model of Google, by its type."""

    def __init__(self, hint: Any) -> None:
        self.hint = hint

    def sample(self) -> Any:
        return sample(self.hint)

    def kind(self, value: Any) -> Any:
        return typed_kind(self.hint, value)


class AwsField:
    """A member of a structure of AWS, by its shape."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape

    def sample(self) -> Any:
        return aws_sample(self.shape)

    def kind(self, value: Any) -> Any:
        return aws_kind(self.shape)


class Object:
    """An object whose members are known."""

    def __init__(self, known: dict) -> None:
        self.known = known


class Several:
    """A list of values of one kind."""

    def __init__(self, field: Any) -> None:
        self.field = field


def walked(kind: Any, value: Any, path: tuple) -> Iterator[tuple[tuple, dict]]:
    if isinstance(kind, Object) and isinstance(value, dict):
        yield path, kind.known
        for name, one in value.items():
            if name in kind.known:
                yield from walked(kind.known[name].kind(one), one, (*path, name))
    elif isinstance(kind, Several) and isinstance(value, list):
        for index, one in enumerate(value):
            yield from walked(kind.field.kind(one), one, (*path, index))


def typed_kind(hint: Any, value: Any) -> Any:
    """Return the kind of a value, for a union the one that it fits."""
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, typing.TypeAliasType):
        return typed_kind(hint.__value__, value)
    if origin in (typing.Required, typing.NotRequired, typing.Annotated, typing.ReadOnly):
        return typed_kind(arguments[0], value)
    if origin in (Union, builtin_types.UnionType):
        return next((typed_kind(one, value) for one in arguments if is_of(one, value)), None)
    if typing_extensions.is_typeddict(hint):
        return Object({name: Field(one) for name, one in members(hint).items()})
    if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
        fields = hint.model_fields.values()
        return Object({field.alias or "": Field(field.annotation) for field in fields if not field.exclude})
    if is_list(hint):
        return Several(Field(arguments[0]))
    return None


def is_of(hint: Any, value: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
        return isinstance(value, dict)
    try:
        fits(hint, value, "")
    except (WrongTypeError, TypeError):
        return is_list(hint) and isinstance(value, list) and not isinstance(hint, type)
    return True


def is_list(hint: Any) -> bool:
    origin = get_origin(hint)
    return origin is list or getattr(origin, "__name__", "") in ("SequenceNotStr", "Iterable", "Sequence")


def sample(hint: Any) -> Any:
    """Return a value of a type: the first of several, as little as it needs, and nothing that is a default."""
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, typing.TypeAliasType):
        return sample(hint.__value__)
    if origin in (typing.Required, typing.NotRequired, typing.Annotated, typing.ReadOnly):
        return sample(arguments[0])
    if origin in (Union, builtin_types.UnionType):
        return sample(next(one for one in arguments if one is not type(None)))
    if origin is Literal:
        return arguments[-1]
    if typing_extensions.is_typeddict(hint):
        known = members(hint)
        return {name: sample(known[name]) for name in known if is_required(hint, name)}
    if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
        first = [field for field in hint.model_fields.values() if field.alias][:1]
        return {str(field.alias): sample(field.annotation) for field in first}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return list(hint)[-1].value
    if is_list(hint):
        return [sample(arguments[0])]
    if origin is dict or getattr(origin, "__name__", "") == "Mapping":
        return {WORD: sample(arguments[1])}
    return {str: WORD, int: 3, float: 0.3, bool: True, bytes: "aGk="}.get(hint, {WORD: 1})


def is_required(kind: Any, name: str) -> bool:
    hint = members(kind)[name]
    if get_origin(hint) in (typing.Required, typing.NotRequired):
        return get_origin(hint) is typing.Required
    return name in kind.__required_keys__


def aws_kind(shape: Any) -> Any:
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        return Object({name: AwsField(one) for name, one in shape.members.items() if not is_in_path(one)})
    return Several(AwsField(shape.member)) if shape.type_name == "list" else None


def is_in_path(shape: Any) -> bool:
    return shape.serialization.get("location") == "uri"


def aws_sample(shape: Any) -> Any:
    match shape.type_name:
        case "structure" if getattr(shape, "is_document_type", False):
            return {WORD: 1}
        case "structure":
            names = shape.required_members or list(shape.members)[:1]
            return {name: aws_sample(shape.members[name]) for name in names}
        case "list":
            return [aws_sample(shape.member)]
        case "map":
            return {WORD: aws_sample(shape.value)}
        case "string":
            return shape.enum[-1] if shape.enum else WORD
        case "boolean":
            return True
        case "blob":
            return "aGk="
        case "float" | "double":
            return 0.3
    return 3
