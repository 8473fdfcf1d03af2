"""The parameters of OpenAI's JSON requests. Missing or wrong ones are refused in OpenAI's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wirekey_simulator.exchange import BadRequest

if TYPE_CHECKING:
    from wirekey_simulator.exchange import Json
    from wirekey_simulator.text import TokenCounts

WORDS: dict[type, str] = {
    str: "a string",
    list: "an array",
    dict: "an object",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    type(None): "null",
}


def tier_of(body: Json) -> str:
    """Return the tier that serves a request: the one that it asks for, in the spelling of responses."""
    asked = optional(body, "service_tier", str) or "auto"
    return {"auto": "default", "fast": "priority"}.get(asked, asked)


def model(body: Json) -> str:
    """Return the model. Raises BadRequest if it is missing."""
    if not body.get("model"):
        raise BadRequest("you must provide a model parameter")
    return str(required(body, "model", str))


def required(body: Json, name: str, *kinds: type) -> Any:
    """Return a required parameter of one of these types. Raises BadRequest."""
    if name not in body:
        raise BadRequest(f"Missing required parameter: '{name}'.", code="missing_required_parameter", field=name)
    value = checked(body[name], name, *kinds)
    if value == []:
        raise BadRequest(
            f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            code="empty_array",
            field=name,
        )
    return value


def optional(body: Json, name: str, *kinds: type) -> Any:
    """Return an optional parameter, or None. Raises BadRequest if it is of another type."""
    value = body.get(name)
    return None if value is None else checked(value, name, *kinds)


def number(body: Json, name: str, usual: int, least: int, most: int) -> int:
    """Return an integer between two bounds, or the default. Raises BadRequest."""
    value = optional(body, name, int)
    if value is None:
        return usual
    if not least <= value <= most:
        raise BadRequest(
            f"Invalid '{name}': expected an integer from {least} to {most}, but got {value}.",
            code="integer_out_of_range",
            field=name,
        )
    return int(value)


def objects(body: Json, name: str) -> list[Json]:
    """Return a list of objects, empty if the parameter is missing. Raises BadRequest."""
    values: list[Json] = optional(body, name, list) or []
    for index, value in enumerate(values):
        checked(value, f"{name}[{index}]", dict)
    return values


def checked(value: Any, name: str, *kinds: type) -> Any:
    """Return a value that is of one of these types. Raises BadRequest."""
    if type(value) in kinds:
        return value
    wanted, got = " or ".join(WORDS[kind] for kind in kinds), WORDS[type(value)]
    raise BadRequest(
        f"Invalid type for '{name}': expected {wanted}, but got {got} instead.", code="invalid_type", field=name
    )


def streams_with_usage(body: Json) -> tuple[bool, bool]:
    """Return whether the request asks for a stream, and for a usage event in it. Raises BadRequest."""
    stream = bool(optional(body, "stream", bool))
    options = optional(body, "stream_options", dict)
    if options is not None and not stream:
        raise BadRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", field="stream_options"
        )
    return stream, bool(options and optional(options, "include_usage", bool))


def completion_usage(counts: TokenCounts) -> Json:
    """Return the usage of chat and completions."""
    return {
        "prompt_tokens": counts.input,
        "completion_tokens": counts.output,
        "total_tokens": counts.total,
        "prompt_tokens_details": {"cached_tokens": counts.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": counts.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
