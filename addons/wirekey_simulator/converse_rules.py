"""The rules of Converse for a whole conversation, with Bedrock's error messages.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and the types it leads to.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from wirekey_simulator.claude_rules import check_signature, check_thinking, check_thinking_comes_first
from wirekey_simulator.exchange import BadRequest, rules
from wirekey_simulator.members import child, objects

if TYPE_CHECKING:
    from wirekey_simulator.exchange import Json

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
TOOL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
DOCUMENT_NAME = re.compile(r"(?!.* {2})[A-Za-z0-9 ()\[\]-]{1,200}")
FORMATS = {
    "image": ("png", "jpeg", "gif", "webp"),
    "document": ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
    "video": ("mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"),
}
BLOCKS = frozenset(
    """text image document video audio toolUse toolResult guardContent cachePoint reasoningContent citationsContent
    searchResult""".split()  # noqa: SIM905 - 12 lines of names otherwise
)


@rules
def check_converse(model: str, body: Json) -> None:
    """Check everything between the members of a request. Raises BadRequest in the provider's words."""
    turns = [(str(message.get("role")), objects(message.get("content"))) for message in objects(body["messages"])]
    for index, (role, blocks) in enumerate(turns):
        if index and turns[index - 1][0] == role:
            raise BadRequest(
                "A conversation must alternate between user and assistant roles. Make sure the conversation "
                "alternates between user and assistant roles and try again."
            )
        if not blocks:
            raise BadRequest(f"The content field in the Message object at messages.{index} is empty.")
        for number, block in enumerate(blocks):
            _check_block(block, f"messages.{index}.content.{number}")
        if any("document" in block for block in blocks) and not any("text" in block for block in blocks):
            raise BadRequest("A text block must be included when a document is included in a message.")
    for number, block in enumerate(objects(body.get("system"))):
        _check_text(block, "SystemContentBlock", f"system.{number}")
    names = [block["document"].get("name") for _, blocks in turns for block in blocks if "document" in block]
    if len(set(names)) < len(names):
        raise BadRequest("The conversation contains documents with the same name. Give each a name of its own.")
    _check_calls(turns)
    _check_tools(body, turns)
    _check_claude_fields(model, body, turns)


def _check_text(block: Json, kind: str, place: str) -> None:
    if "text" in block and not str(block["text"]).strip():
        raise BadRequest(f"The text field in the {kind} object at {place} is blank. Add text to the text field.")


def _check_block(block: Json, place: str) -> None:
    if len(BLOCKS & set(block)) != 1 or set(block) - BLOCKS:
        raise BadRequest(f"The ContentBlock object at {place} must set one and only one of its members.")
    _check_text(block, "ContentBlock", place)
    for kind, formats in FORMATS.items():
        if kind in block:
            _check_media(block[kind], kind, formats, place)
    if "toolUse" in block:
        use = block["toolUse"]
        if not isinstance(use.get("input"), dict):
            raise BadRequest(f"The format of the value at {place}.toolUse.input is invalid. Provide a json object.")
        _check_pattern(use.get("toolUseId"), TOOL_ID, f"{place}.toolUse.toolUseId")
        _check_pattern(use.get("name"), TOOL_NAME, f"{place}.toolUse.name")
    if "toolResult" in block:
        result = block["toolResult"]
        _check_pattern(result.get("toolUseId"), TOOL_ID, f"{place}.toolResult.toolUseId")
        if not isinstance(result.get("content"), list):
            raise BadRequest(f"Value null at '{place}.toolResult.content' failed to satisfy constraint")
        if result.get("status", "success") not in ("success", "error"):
            raise BadRequest(f"Value at '{place}.toolResult.status' failed to satisfy constraint")
        for inner in result["content"]:
            if len(inner) != 1 or not set(inner) <= {"text", "json", "image", "document", "video", "searchResult"}:
                raise BadRequest(f"The ToolResultContentBlock object at {place} must set one of its members.")
            for kind, formats in FORMATS.items():
                if kind in inner:
                    _check_media(inner[kind], kind, formats, place)
    if text := child(block, "reasoningContent", "reasoningText"):
        check_signature(text.get("text"), text.get("signature"), place)


def _check_media(media: Any, kind: str, formats: tuple[str, ...], place: str) -> None:
    if child(media, "format") not in formats:
        raise BadRequest(f"Value at '{place}.{kind}.format' failed to satisfy constraint: {list(formats)}")
    if kind == "document":
        _check_pattern(media.get("name"), DOCUMENT_NAME, f"{place}.document.name")
    data = child(media, "source", "bytes")
    if data is None and not child(media, "source"):
        raise BadRequest(f"Value null at '{place}.{kind}.source' failed to satisfy constraint")
    if data is not None:
        try:
            b64decode(data or "!", validate=True)
        except (TypeError, ValueError):
            raise BadRequest(f"The {kind} at {place} is not valid base64.") from None


def _check_pattern(value: Any, pattern: re.Pattern[str], place: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadRequest(
            f"1 validation error detected: Value at '{place}' failed to satisfy constraint: Member must satisfy "
            f"regular expression pattern: {pattern.pattern}"
        )


def _check_calls(turns: list[tuple[str, list[Json]]]) -> None:
    """Check that the results of each turn's calls are in the next turn."""
    open_calls: list[str] = []
    for index, (role, blocks) in enumerate(turns):
        results = [block["toolResult"].get("toolUseId") for block in blocks if "toolResult" in block]
        if len(results) > len(open_calls):
            raise BadRequest(
                f"The number of toolResult blocks at messages.{index}.content exceeds the number of toolUse blocks of "
                "previous turn."
            )
        missing = [call for call in open_calls if call not in results]
        if missing or len(set(results)) < len(results):
            raise BadRequest(
                f"Expected toolResult blocks at messages.{index}.content for the following Ids: {', '.join(missing)}"
            )
        open_calls = [str(block["toolUse"].get("toolUseId")) for block in blocks if "toolUse" in block]
        if len(set(open_calls)) < len(open_calls):
            raise BadRequest(f"messages.{index}: the toolUse blocks have the same Ids.")
        if role == "user" and open_calls:
            raise BadRequest(f"messages.{index}: toolUse blocks belong to the assistant.")


def _check_tools(body: Json, turns: list[tuple[str, list[Json]]]) -> None:
    config = body.get("toolConfig")
    if config is None:
        if any({"toolUse", "toolResult"} & set(block) for _, blocks in turns for block in blocks):
            raise BadRequest("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        return
    tools = objects(child(config, "tools"))
    if not tools:
        raise BadRequest("Value at 'toolConfig.tools' failed to satisfy constraint: at least 1 item is required")
    specs = objects([tool.get("toolSpec") for tool in tools])
    names = [spec.get("name") for spec in specs]
    for index, spec in enumerate(specs):
        _check_pattern(spec.get("name"), TOOL_NAME, f"toolConfig.tools.{index}.member.toolSpec.name")
        if child(spec, "inputSchema", "json", "type") != "object":
            raise BadRequest(
                f"The value at toolConfig.tools.{index}.toolSpec.inputSchema.json.type must be one of the following: "
                "object."
            )
        if spec.get("description") == "":
            raise BadRequest(f"Value at 'toolConfig.tools.{index}.member.toolSpec.description' has a minimum length 1")
    if len(set(names)) < len(names):
        raise BadRequest("The toolConfig has tools of the same name.")
    choice = config.get("toolChoice")
    if choice is not None and (not isinstance(choice, dict) or list(choice) not in (["auto"], ["any"], ["tool"])):
        raise BadRequest("The ToolChoice object at toolConfig.toolChoice must set one of auto, any, tool.")
    if (chosen := child(choice, "tool", "name")) is not None and chosen not in names:
        raise BadRequest(f"The tool {chosen} at toolConfig.toolChoice is not among the tools.")


def _check_claude_fields(model: str, body: Json, turns: list[tuple[str, list[Json]]]) -> None:
    if "anthropic." not in model:
        return
    fields = body.get("additionalModelRequestFields")
    inference = body.get("inferenceConfig") or {}
    for name in ("temperature", "topP"):
        value = inference.get(name)
        if isinstance(value, int | float) and not 0 <= value <= 1:
            raise BadRequest(f"Value at 'inferenceConfig.{name}' failed to satisfy constraint: 0 to 1")
    forced = bool({"any", "tool"} & set(child(body, "toolConfig", "toolChoice") or ()))
    sampling = {name: inference[name] for name in ("temperature",) if name in inference}
    if child(fields, "top_k") is not None:
        sampling["top_k"] = fields["top_k"] if isinstance(fields, dict) else None
    check_thinking(child(fields, "thinking"), inference.get("maxTokens"), forced, sampling)
    if child(fields, "thinking", "type") == "enabled":
        check_thinking_comes_first([(role, [next(iter(block), "") for block in blocks]) for role, blocks in turns])
