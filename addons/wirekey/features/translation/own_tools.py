"""Refuses tools and blocks that only one provider has, by their names.

Only names of the tables are said: any other one is a program's own content.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.features.translation.losses import Losses

_OPENAI = (
    "web_search_preview", "web_search", "file_search", "code_interpreter", "computer_use_preview", "computer",
    "image_generation", "local_shell", "shell", "apply_patch", "mcp_approval_request", "mcp_approval_response",
    "mcp_list_tools", "mcp", "namespace", "tool_search", "compaction", "additional_tools", "program", "custom",
)  # fmt: skip
_ANTHROPIC = (
    "web_search", "web_fetch", "code_execution", "bash_code_execution", "text_editor_code_execution", "computer",
    "bash", "text_editor", "memory", "tool_search_tool_bm25", "tool_search_tool_regex", "tool_search", "mcp_toolset",
    "mcp_tool_use", "mcp_tool_result", "mcp", "advisor", "server_tool_use", "search_result", "container_upload",
    "compaction", "fallback",
)  # fmt: skip
_GEMINI = (
    "googleSearchRetrieval", "googleSearch", "googleMaps", "codeExecution", "urlContext", "fileSearch", "computerUse",
    "enterpriseWebSearch", "parallelAiSearch", "exaAiSearch", "mcpServers", "retrieval", "executableCode",
    "codeExecutionResult", "toolCall", "toolResponse",
)  # fmt: skip
_CONVERSE = (
    "systemTool", "server_tool_use", "guardContent", "searchResult", "nova_grounding", "nova_code_interpreter",
)  # fmt: skip
_RUNNERS = {
    "openai": ("OpenAI", _OPENAI),
    "anthropic": ("Anthropic", _ANTHROPIC),
    "gemini": ("Google", _GEMINI),
    "converse": ("AWS", _CONVERSE),
}
_REST = re.compile(r"(_call|_call_output|_output|_tool_result|_result)?(_[0-9]{8}|(_[0-9]{4}_[0-9]{2}_[0-9]{2}))?")


def known_name(family: str, kind: str) -> str | None:
    """Return the name of a provider's own tool, without its version, or None if the table has no such tool.

    The name of a call of a tool, and of its result, is that of the tool.
    """
    _, names = _RUNNERS[family]
    for name in names:
        if kind.startswith(name) and _REST.fullmatch(kind, len(name)):
            return name
    return None


def refuse_own(  # noqa: PLR0917  # what is refused, and where
    losses: Losses, family: str, place: str, kinds: str, kind: str, name: str = ""
) -> None:
    """Raise Refusal for a tool or a block that only its provider has, unless the operator lets it go.

    `kinds` is its path in `translation.drop`, without indices. The name of the tool follows, or its whole type.
    """
    runner, _ = _RUNNERS[family]
    known = known_name(family, kind)
    if known and f"{kinds}.{known}" in losses.allowed:
        losses.dropped.add(f"{kinds}.{known}")
        return
    what = f"{known} is a tool or a block that only {runner} has" if known else f"only {runner} knows this type"
    losses.refuse(place, what, name or f"{kinds}.{kind}")
