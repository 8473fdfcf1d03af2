"""Reads the tools of a request of Gemini's generateContent, and which of them the model may call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.losses import cannot_translate
from wirekey.features.translation.own_tools import OwnTools
from wirekey.features.translation.schemas import from_google

if TYPE_CHECKING:
    from wirekey.features.translation.losses import Losses
    from wirekey.features.translation.members import Members

_MODES = {"AUTO": "auto", "VALIDATED": "auto", "ANY": "required", "NONE": "none", "MODE_UNSPECIFIED": "auto"}

OWN_TOOLS = OwnTools("Google", (
    "googleSearchRetrieval", "googleSearch", "googleMaps", "codeExecution", "urlContext", "fileSearch", "computerUse",
    "enterpriseWebSearch", "parallelAiSearch", "exaAiSearch", "mcpServers", "retrieval", "executableCode",
    "codeExecutionResult", "toolCall", "toolResponse",
))  # fmt: skip


def read_tools(top: Members, losses: Losses) -> tuple[n.Tool, ...]:
    """Return the functions that the model may call. Raises Refusal for a tool that Google runs."""
    found = []
    for tool in top.objects("tools"):
        for function in tool.objects("functionDeclarations"):
            schema = function.raw("parametersJsonSchema")
            if schema is None and (google := function.raw("parameters")) is not None:
                schema = from_google(google)
            for name in ("response", "responseJsonSchema", "behavior"):
                if function.has(name):
                    losses.drop(f"tools.functionDeclarations.{name}")
            found.append(n.Tool(function.needed_text("name"), function.text("description"), schema))
            function.drop_unread(losses)
        for name in tool.unread():
            OWN_TOOLS.refuse(losses, tool.place, "tools", name)
        tool.ignore_all()
    return tuple(found)


def read_choice(top: Members, losses: Losses) -> n.ToolChoice | None:
    """Return which functions the model may or must call."""
    config = top.members("toolConfig")
    if config and config.has("retrievalConfig"):
        losses.drop("toolConfig.retrievalConfig")
    found = config.members("functionCallingConfig") if config else None
    if found is None:
        return None
    mode = (found.text("mode") or "AUTO").upper()
    if mode not in _MODES:
        raise cannot_translate(found.at("mode"), "it must be AUTO, ANY, NONE or VALIDATED")
    names = tuple(found.texts("allowedFunctionNames"))
    if _MODES[mode] == "required" and len(names) == 1:
        return n.ToolChoice("one", names)
    return n.ToolChoice(_MODES[mode], names)  # type: ignore[arg-type]
