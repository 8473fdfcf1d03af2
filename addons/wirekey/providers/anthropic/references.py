"""The members of Anthropic's requests that refer to input which is not in the request.

https://platform.claude.com/docs/en/api/messages, …/build-with-claude/files
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.providers.rare_members import IN_MESSAGES, has_escapes, may_have
from wirekey.providers.references import is_filled, refers_to, type_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.providers.request_json import JsonObject

OF_REQUEST = ("container", "mcp_servers")
OWN_TOOLS = ("web_search", "web_fetch", "code_execution", "mcp_toolset")
"""Beginnings of the types of tools that the provider runs. It reads what they find."""

_INNER = ("messages", "system", "content", "source")
_REFERRING = ("url", "file", "container_upload")
"""Types of a source, or of a block, that has nothing of its content."""
_TYPES = re.compile(rb'"type"[ \t\r\n]*:[ \t\r\n]*"(?:%b)"' % "|".join(_REFERRING).encode())


def reads_elsewhere(body: JsonObject, tools: Iterable[JsonObject]) -> bool:
    """Return whether a request for a message refers to input that is not in it. `tools`: those that it offers."""
    return is_filled(body, OF_REQUEST) or runs_tools(tools) or content_refers(body)


def content_refers(body: JsonObject) -> bool:
    """Return whether the messages of a request refer to a file or an address."""
    if may_have(body, IN_MESSAGES) and (_TYPES.search(body.data) or has_escapes(body.data)):
        return refers_to(body, _INNER, _names_file)
    return False


def runs_tools(tools: Iterable[JsonObject]) -> bool:
    """Return whether the provider itself runs one of these tools."""
    return any((type_of(tool) or "").startswith(OWN_TOOLS) for tool in tools)


def _names_file(block: JsonObject) -> bool:
    return type_of(block) in _REFERRING
