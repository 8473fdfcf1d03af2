"""The rules of Gemini for a whole conversation, with Google's error messages.

https://ai.google.dev/gemini-api/docs/function-calling, .../thought-signatures and .../structured-output.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from wirekey_simulator.exchange import BadRequest, rules
from wirekey_simulator.members import child, objects
from wirekey_simulator.signatures import signature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.exchange import Json

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
DATA = frozenset(
    """text inlineData functionCall functionResponse fileData executableCode codeExecutionResult inline_data
    function_call function_response file_data executable_code code_execution_result
    toolCall toolResponse""".split()  # noqa: SIM905 - 15 lines of names otherwise
)
SKIPPED = (
    "skip_thought_signature_validator",
    "context_engineering_is_the_way_to_go",
    "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=",
)
"""Google's words for a call of another model, whose signature is not checked. The last is in base64."""
SIGNING = re.compile(r"gemini-[3-9]")
MAX_STOPS = 5


@rules
def check_gemini(model: str, body: Json) -> None:
    """Check everything between the members of a request. Raises BadRequest in the provider's words."""
    contents = [(content.get("role", "user"), _parts(content)) for content in objects(body.get("contents"))]
    for index, (_, parts) in enumerate(contents):
        if not parts:
            raise BadRequest(f"* GenerateContentRequest.contents[{index}].parts: contents.parts must not be empty.")
        for number, part in enumerate(parts):
            _check_part(part, f"contents[{index}].parts[{number}]")
    _check_calls(contents)
    _check_signatures(model, contents)
    names = _check_tools(body)
    _check_config(model, body.get("generationConfig"), bool(names))


def _parts(content: Json) -> list[Json]:
    return objects(content.get("parts"))


def call_in(part: Json) -> Json | None:
    """Return the function call in a part."""
    return part.get("functionCall") or part.get("function_call")


def _result_in(part: Json) -> Json | None:
    return part.get("functionResponse") or part.get("function_response")


def _check_part(part: Json, place: str) -> None:
    if len(DATA & set(part)) != 1 and not (set(part) <= {"thoughtSignature", "thought", "text"} and part):
        raise BadRequest(f"* GenerateContentRequest.{place}.data: required oneof field 'data' must have one value")
    for kind in ("functionCall", "functionResponse"):
        if (function := part.get(kind)) is not None:
            if not NAME.fullmatch(str(child(function, "name") or "")):
                raise BadRequest(f"* GenerateContentRequest.{place}.{_snake(kind)}.name: Invalid function name.")
            inner = function.get("args" if kind == "functionCall" else "response")
            if inner is not None and not isinstance(inner, dict):
                raise BadRequest(
                    f"Invalid value at '{place}.{_snake(kind)}' (type.googleapis.com/google.protobuf.Struct)"
                )
            if kind == "functionResponse" and inner is None:
                raise BadRequest(f"* GenerateContentRequest.{place}.function_response.response: is required")
    blob = part.get("inlineData") or part.get("inline_data")
    if blob is not None:
        if not (child(blob, "mimeType") or child(blob, "mime_type")):
            raise BadRequest(f"* GenerateContentRequest.{place}.inline_data.mime_type: is required")
        try:
            b64decode(blob.get("data") or "!", altchars=b"-_" if set("-_") & set(blob["data"]) else None, validate=True)
        except (TypeError, ValueError):
            raise BadRequest(
                f"Invalid value at '{place}.inline_data.data' (TYPE_BYTES), Base64 decoding failed"
            ) from None
    if part.get("fileData") is not None and not child(part, "fileData", "fileUri"):
        raise BadRequest(f"* GenerateContentRequest.{place}.file_data.file_uri: is required")


def _snake(name: str) -> str:
    return "function_call" if name == "functionCall" else "function_response"


def _check_calls(contents: list[tuple[Any, list[Json]]]) -> None:
    """Check that a turn of calls is followed at once by a turn with as many responses, and nothing else."""
    waiting: list[str] = []
    for index, (role, parts) in enumerate(contents):
        found = [result for part in parts if (result := _result_in(part)) is not None]
        names = [str(result.get("name")) for result in found]
        if names and not waiting:
            raise BadRequest("Please ensure that function response turn comes immediately after a function call turn.")
        if waiting and sorted(names) != sorted(waiting):
            raise BadRequest(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        if names and len(names) < len(parts):
            raise BadRequest(f"contents[{index}]: a turn of function responses must have no other parts.")
        waiting = [str(call.get("name")) for part in parts if (call := call_in(part)) is not None]
        if waiting and role != "model":
            raise BadRequest("Please use a valid role: function calls are the model's.")
        if waiting and index and contents[index - 1][0] == "model":
            raise BadRequest(
                "Please ensure that function call turn comes immediately after a user turn or after a "
                "function response turn."
            )


def _check_signatures(model: str, contents: list[tuple[Any, list[Json]]]) -> None:
    """Check the signatures of the current turn: of the first call of each step since the user's last text."""
    since = max(
        (index for index, (role, parts) in enumerate(contents) if role != "model" and not any(map(_result_in, parts))),
        default=0,
    )
    for index, (role, parts) in enumerate(contents):
        first = True
        for number, part in enumerate(parts):
            given, call = part.get("thoughtSignature", part.get("thought_signature")), call_in(part)
            if given is not None and given not in SKIPPED:
                bare = call and {name: value for name, value in call.items() if name != "id"}
                # Google reads base64 in either alphabet, and its SDK writes the other one.
                standard = str(given).replace("-", "+").replace("_", "/")
                if standard != signature("gemini", bare if call else part.get("text")):
                    raise BadRequest(f"contents[{index}].parts[{number}]: Thought signature is not valid.")
            if call and first and role == "model" and index > since and given is None and SIGNING.match(model):
                raise BadRequest(
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                    f"work correctly. Function call `{call.get('name')}`, position {index + 1}."
                )
            first = first and not call


def _check_tools(body: Json) -> list[str]:
    """Check the functions and their choice. Return their names."""
    names: list[str] = []
    for tool in objects(body.get("tools")):
        for function in objects(tool.get("functionDeclarations")):
            name = str(function.get("name", ""))
            if not NAME.fullmatch(name):
                raise BadRequest(f"* GenerateContentRequest.tools.function_declarations[{name}].name: Invalid name.")
            if {"parameters", "parametersJsonSchema"} <= set(function):
                raise BadRequest(f"Function {name} has both parameters and parameters_json_schema.")
            names.append(name)
    if len(set(names)) < len(names):
        raise BadRequest("Duplicate function declaration found.")
    config = child(body, "toolConfig", "functionCallingConfig")
    allowed = child(config, "allowedFunctionNames") or []
    if allowed and child(config, "mode") not in ("ANY", "VALIDATED"):
        raise BadRequest("Function calling config is set with allowed_function_names, which needs the mode ANY.")
    if unknown := [name for name in allowed if name not in names]:
        raise BadRequest(f"allowed_function_names: {unknown[0]} is not among the function declarations.")
    return names


def _check_config(model: str, config: Any, has_tools: bool) -> None:
    if not isinstance(config, dict):
        return
    thinking = config.get("thinkingConfig") or {}
    if "thinkingLevel" in thinking and not SIGNING.match(model):
        raise BadRequest("Thinking level is not supported for this model.")
    if {"thinkingLevel", "thinkingBudget"} <= set(thinking):
        raise BadRequest("You can only set only one of thinking budget and thinking level.")
    if {"responseSchema", "responseJsonSchema"} & set(config) and not config.get("responseMimeType"):
        raise BadRequest("response_schema is set, so response_mime_type must be application/json or text/x.enum.")
    if has_tools and config.get("responseMimeType") == "application/json" and not SIGNING.match(model):
        raise BadRequest("Function calling with a response mime type: 'application/json' is unsupported")
    if len(config.get("stopSequences") or ()) > MAX_STOPS:
        raise BadRequest("* GenerateContentRequest.generation_config.stop_sequences: at most 5 are supported")
    for place in _siblings_of_a_reference(config.get("responseJsonSchema"), "response_json_schema"):
        raise BadRequest(f"{place}: only members that begin with $ may stand beside $ref")


def _siblings_of_a_reference(schema: Any, place: str) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str) and any(not name.startswith("$") for name in schema):
            yield place
        for name, inner in schema.items():
            yield from _siblings_of_a_reference(inner, f"{place}.{name}")
    elif isinstance(schema, list):
        for index, inner in enumerate(schema):
            yield from _siblings_of_a_reference(inner, f"{place}[{index}]")
