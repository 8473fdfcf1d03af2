"""The rules of Responses for a whole conversation, with OpenAI's error messages.

https://platform.openai.com/docs/api-reference/responses/create.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wirekey_simulator.exchange import BadRequest, rules
from wirekey_simulator.history import text_of
from wirekey_simulator.members import child, objects
from wirekey_simulator.openai.chat_rules import (
    REASONING,
    check_image,
    check_name,
    check_schema,
    check_strict,
    samples,
    unsupported,
)
from wirekey_simulator.signatures import signature

if TYPE_CHECKING:
    from wirekey_simulator.exchange import Json

MAX_CALL_ID = 64
MIN_OUTPUT_TOKENS = 16
ROLES = ("user", "assistant", "system", "developer")
CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}
OWN = ("output_text", "refusal")


@rules
def check_responses(body: Json) -> None:
    """Check everything between the members of a request. Raises BadRequest in the provider's words."""
    model = str(body.get("model"))
    most = body.get("max_output_tokens")
    if isinstance(most, int) and most < MIN_OUTPUT_TOKENS:
        raise BadRequest(
            f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got "
            f"{most} instead.",
            code="integer_below_min_value",
            field="max_output_tokens",
        )
    if not body.get("previous_response_id") and not body.get("conversation"):
        _check_items(objects(body.get("input")), stored=body.get("store") is not False)
    _check_tools(body)
    if REASONING.match(model):
        for name in () if samples(model, child(body, "reasoning", "effort")) else ("temperature", "top_p"):
            if body.get(name) not in (None, 1):
                raise unsupported(name)
    elif model.startswith(("gpt-3", "gpt-4")) and (
        child(body, "reasoning", "effort") or child(body, "reasoning", "summary")
    ):
        raise unsupported("reasoning.effort")
    form = child(body, "text", "format")
    if child(form, "type") == "json_schema":
        check_schema(form, "text.format")


def _check_items(items: list[Json], *, stored: bool) -> None:
    calls = {item.get("call_id"): kind for item in items if (kind := item.get("type")) in CALLS}
    outputs = {item.get("call_id"): kind for item in items if (kind := item.get("type")) in CALLS.values()}
    for index, item in enumerate(items):
        kind = item.get("type", "message")
        _check_id(item, kind, f"input[{index}].id")
        if kind == "message":
            _check_message(item, f"input[{index}]")
        elif kind == "reasoning":
            _check_reasoning(item, items[index + 1 :], stored=stored)
        elif kind in CALLS:
            call = item.get("call_id")
            if not isinstance(call, str) or len(call) > MAX_CALL_ID:
                raise BadRequest(
                    f"Invalid 'input[{index}].call_id': string too long. Expected a string with maximum length 64.",
                    code="string_above_max_length",
                )
            if kind == "function_call":
                check_name(item.get("name"), f"input[{index}].name")
                if not isinstance(item.get("arguments"), str):
                    raise BadRequest(f"Missing required parameter: 'input[{index}].arguments'.")
            if outputs.get(call) != CALLS[kind]:
                raise BadRequest(f"No tool output found for function call {call}.", field="input")
        elif kind in CALLS.values():
            call = item.get("call_id")
            if CALLS.get(calls.get(call, "")) != kind:
                raise BadRequest(f"No tool call found for function call output with call_id {call}.", field="input")
            _check_output(item.get("output"), f"input[{index}].output")


def _check_id(item: Json, kind: str, place: str) -> None:
    identifier, prefix = item.get("id"), PREFIXES.get(kind)
    if identifier and prefix and not str(identifier).startswith(prefix):
        raise BadRequest(
            f"Invalid '{place}': '{identifier}'. Expected an ID that begins with '{prefix}'.", code="invalid_value"
        )


def _check_output(output: Any, place: str) -> None:
    if not isinstance(output, str | list):
        raise BadRequest(f"Missing required parameter: '{place}'.")
    for number, part in enumerate(objects(output)):
        _check_part(part, f"{place}[{number}]", own=False)


def _check_message(item: Json, place: str) -> None:
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        raise BadRequest(f"Invalid value: '{role}'. Supported values are: {ROLES}.", field=f"{place}.role")
    if not isinstance(content, str | list):
        raise BadRequest(f"Missing required parameter: '{place}.content'.", field=f"{place}.content")
    for number, part in enumerate(objects(content)):
        _check_part(part, f"{place}.content[{number}]", own=role == "assistant")


def _check_part(part: Json, place: str, *, own: bool) -> None:
    kind = part.get("type")
    kinds = OWN if own else ("input_text", "input_image", "input_file", "input_audio")
    if kind not in kinds:
        raise BadRequest(f"Invalid value: '{kind}'. Supported values are: {kinds}.", field=place)
    if kind == "input_image" and not part.get("file_id"):
        check_image(part.get("image_url"), f"{place}.image_url")


def _check_reasoning(item: Json, rest: list[Json], *, stored: bool) -> None:
    """Check that reasoning was issued here, and that the item it led to follows."""
    if not rest or (rest[0].get("role") != "assistant" and rest[0].get("type") not in (*CALLS, "reasoning")):
        raise BadRequest(
            f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
        )
    if not isinstance(item.get("summary"), list):
        raise BadRequest("Missing required parameter: 'input.summary'.")
    given = item.get("encrypted_content")
    if given is None and not stored:
        raise BadRequest(
            f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false. Try "
            "again with `store` set to true, or remove this item from your input.",
            status=404,
        )
    if given is not None and given != signature("openai", text_of(item["summary"])):
        raise BadRequest(
            "The encrypted content could not be verified. Reason: Encrypted content could not be decrypted or parsed.",
            code="invalid_encrypted_content",
        )


def _check_tools(body: Json) -> None:
    functions = [tool for tool in objects(body.get("tools")) if tool.get("type") == "function"]
    for index, function in enumerate(functions):
        check_name(function.get("name"), f"tools[{index}].name")
        if function.get("strict"):
            check_strict(function.get("parameters"), f"function '{function['name']}'")
    chosen = body.get("tool_choice")
    name = child(chosen, "name") if child(chosen, "type") == "function" else None
    if name is not None and name not in [function.get("name") for function in functions]:
        raise BadRequest(f"Tool choice '{name}' not found in 'tools' parameter.", field="tool_choice")
