"""The rules of Chat Completions for a whole conversation, with OpenAI's error messages.

https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from wirekey_simulator.exchange import BadRequest, rules
from wirekey_simulator.members import child, objects

if TYPE_CHECKING:
    from wirekey_simulator.exchange import Json

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ROLES = ("developer", "system", "user", "assistant", "tool", "function")
MAX_CALL_ID = 40
MAX_STOPS = 4
REASONING = re.compile(r"(gpt-[5-9](?!.*-chat)|o\d)")
WITHOUT_REASONING = re.compile(r"gpt-5\.[1-9]")
"""Models that need not reason. With the effort `none` they take a temperature and top_p."""
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


@rules
def check_chat(body: Json) -> None:
    """Check everything between the members of a request. Raises BadRequest in the provider's words."""
    waiting: list[str] = []
    for index, message in enumerate(objects(body["messages"])):
        place = f"messages[{index}]"
        if message.get("role") not in ROLES:
            raise BadRequest(f"Invalid value: '{message.get('role')}'. Supported values are: {ROLES}", field=place)
        waiting = _check_turn(message, waiting, place)
    if waiting:
        raise _unanswered(waiting)
    _check_tools(body)
    check_sampling(str(body.get("model")), body)
    check_schema(child(body, "response_format", "json_schema"), "response_format")
    if isinstance(body.get("stop"), list) and len(body["stop"]) > MAX_STOPS:
        raise BadRequest("Invalid 'stop': array too long. Expected an array with maximum length 4.", field="stop")


def check_sampling(model: str, body: Json) -> None:
    """Check that reasoning models get no sampling parameters, and other models no effort."""
    if not REASONING.match(model):
        if body.get("reasoning_effort") and model.startswith(("gpt-3", "gpt-4")):
            raise unsupported("reasoning_effort")
        return
    if "max_tokens" in body:
        raise BadRequest(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            code="unsupported_parameter",
            field="max_tokens",
        )
    for name in () if samples(model, body.get("reasoning_effort")) else ("temperature", "top_p"):
        if body.get(name, 1) not in (1, None):
            raise BadRequest(
                f"Unsupported value: '{name}' does not support {body[name]} with this model. Only the default (1) "
                "value is supported.",
                code="unsupported_value",
                field=name,
            )
    for name in ("presence_penalty", "frequency_penalty", "logprobs", "stop"):
        if body.get(name):
            raise unsupported(name)


def samples(model: str, effort: object) -> bool:
    """Return whether a model takes a temperature and top_p at this effort of reasoning."""
    return not REASONING.match(model) or bool(effort == "none" and WITHOUT_REASONING.match(model))


def unsupported(name: str) -> BadRequest:
    """Return the error for a parameter that the model does not take."""
    sentence = f"Unsupported parameter: '{name}' is not supported with this model."
    return BadRequest(sentence, code="unsupported_parameter", field=name)


def check_schema(form: Any, place: str) -> None:
    """Check a `json_schema` format: its name, and what `strict` demands of each object."""
    if not isinstance(form, dict):
        return
    if not TOOL_NAME.fullmatch(str(form.get("name", ""))):
        raise BadRequest(f"Invalid '{place}.name': string does not match pattern '^[a-zA-Z0-9_-]+$'.", field=place)
    if form.get("strict"):
        check_strict(form.get("schema"), place)


def check_strict(schema: Any, place: str) -> None:
    """Check what `strict` demands: no further properties, and all of them required."""
    if isinstance(schema, list):
        for inner in schema:
            check_strict(inner, place)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            raise BadRequest(
                f"Invalid schema for {place}: 'additionalProperties' is required to be supplied and to be false.",
                code="invalid_json_schema",
            )
        if sorted(schema.get("required", ())) != sorted(schema.get("properties", {})):
            raise BadRequest(
                f"Invalid schema for {place}: 'required' is required to be supplied and to be an array including every "
                "key in properties.",
                code="invalid_json_schema",
            )
    for inner in schema.values():
        check_strict(inner, place)


def check_image(url: Any, place: str) -> None:
    """Check the data URL of an image. Other URLs would be fetched."""
    if not isinstance(url, str) or not url.startswith(("data:", "https://", "http://")):
        raise BadRequest(f"Invalid '{place}'. Expected a valid URL, but got a value with an invalid format.")
    if not url.startswith("data:"):
        return
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    try:
        b64decode(data or "!", validate=True)
    except ValueError:
        raise BadRequest(f"Invalid base64 image_url at {place}.", code="invalid_base64") from None
    if kind not in IMAGES:
        raise BadRequest(
            "You uploaded an unsupported image. Please make sure your image is valid and one of: png, jpeg, gif, webp.",
            code="invalid_image_format",
        )


def _check_turn(message: Json, waiting: list[str], place: str) -> list[str]:
    """Check one message. Return the calls that still wait for their results."""
    role, content = message["role"], message.get("content")
    if role == "tool":
        call = message.get("tool_call_id")
        if not waiting:
            raise BadRequest(
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                "'tool_calls'.",
                field=f"{place}.role",
            )
        if call not in waiting:
            raise BadRequest(f"Invalid parameter: 'tool_call_id' of '{call}' not found in 'tool_calls'.", field=place)
        if not isinstance(content, str | list):
            raise BadRequest(f"Missing required parameter: '{place}.content'.", field=place)
        return [other for other in waiting if other != call]
    if waiting:
        raise _unanswered(waiting)
    calls = message.get("tool_calls")
    if content is None and not calls and not message.get("function_call") and not message.get("audio"):
        raise BadRequest(
            f"Invalid value for 'content': expected a string, got null. ({place})", field=f"{place}.content"
        )
    for number, part in enumerate(objects(content)):
        _check_part(part, str(role), f"{place}.content[{number}]")
    if calls is None:
        return []
    if role != "assistant":
        raise BadRequest(f"Unknown parameter: '{place}.tool_calls'.", field=place)
    if not calls:
        raise BadRequest(f"Invalid '{place}.tool_calls': empty array. Expected an array with minimum length 1.")
    return [_checked_call(call, f"{place}.tool_calls[{number}]") for number, call in enumerate(objects(calls))]


def _unanswered(waiting: list[str]) -> BadRequest:
    return BadRequest(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(waiting)}",
        field="messages",
    )


def _check_part(part: Json, role: str, place: str) -> None:
    kinds = {
        "user": ("text", "image_url", "input_audio", "file"),
        "assistant": ("text", "refusal"),
    }.get(role, ("text",))
    if part.get("type") not in kinds:
        raise BadRequest(f"Invalid value: '{part.get('type')}'. Supported values are: {kinds}.", field=place)
    if part["type"] == "text" and not isinstance(part.get("text"), str):
        raise BadRequest(f"Missing required parameter: '{place}.text'.", field=place)
    if part["type"] == "image_url":
        check_image(child(part, "image_url", "url"), f"{place}.image_url.url")


def _checked_call(call: Json, place: str) -> str:
    if "function" not in call:
        return str(call.get("id"))
    identifier, function = call.get("id"), call["function"]
    if not isinstance(identifier, str) or len(identifier) > MAX_CALL_ID:
        raise BadRequest(
            f"Invalid '{place}.id': string too long. Expected a string with maximum length 40.",
            code="string_above_max_length",
            field=f"{place}.id",
        )
    if call.get("type") != "function":
        raise BadRequest(f"Missing required parameter: '{place}.type'.", field=place)
    if not isinstance(child(function, "arguments"), str):
        raise BadRequest(f"Missing required parameter: '{place}.function.arguments'.", field=place)
    check_name(child(function, "name"), f"{place}.function.name")
    return identifier


def check_name(name: Any, place: str) -> None:
    """Check the name of a function."""
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        raise BadRequest(
            f"Invalid '{place}': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'.",
            code="invalid_value",
            field=place,
        )


def _check_tools(body: Json) -> None:
    functions = [tool["function"] for tool in objects(body.get("tools")) if isinstance(tool.get("function"), dict)]
    if body.get("tools") == []:
        raise BadRequest("Invalid 'tools': empty array. Expected an array with minimum length 1.", field="tools")
    for index, function in enumerate(functions):
        check_name(function.get("name"), f"tools[{index}].function.name")
        if function.get("strict"):
            check_strict(function.get("parameters"), f"function '{function['name']}'")
    if not body.get("tools"):
        for name in ("tool_choice", "parallel_tool_calls"):
            if body.get(name) is not None and body[name] != "none":
                raise BadRequest(f"'{name}' is only allowed when 'tools' are specified.", field=name)
    chosen = child(body.get("tool_choice"), "function", "name")
    if chosen is not None and chosen not in [function.get("name") for function in functions]:
        raise BadRequest(f"Tool choice '{chosen}' not found in 'tools' parameter.", field="tool_choice")
