"""Finds out with one search that a request has none of the members that few requests have.

A conversation is long, and each search takes longer than to split it into members. So the names of all rare members
of a format are searched for at once. Only if one may be there, each of them is searched for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.providers.request_json import JsonObject

# Of printable ASCII. Other escapes, which many clients write, cannot hide a word that is looked for.
_ESCAPED = re.compile(rb"\\u00[2-7]")

# Each pattern begins with one byte, for which Python has a fast search.
IN_MESSAGES = re.compile(
    rb'"(?:tool_definition|mcp_tool_reference|mcp_tool_listing|1h'
    rb'|type"[ \t\r\n]*:[ \t\r\n]*"(?:url|file|container_upload))"'
)
"""Of messages in Anthropic's shape: tools that they bring, what they refer to, and the cache for an hour."""
IN_CHAT = re.compile(
    rb'"(?:file_id"|audio"|(?:(?:image|file|video|audio|document)_)?url"[ \t\r\n]*:[ \t\r\n]*"(?!data:))'
)
"""Of OpenAI's messages and items: files, addresses and stored speech."""


def may_have(body: JsonObject, members: re.Pattern[bytes]) -> bool:
    """Return whether a request may have one of these members. The search is made once for a request."""
    found = body.searches.get(members)
    if found is None:
        found = body.searches[members] = members.search(body.data) is not None or has_escapes(body.data)
    return found


def has_escapes(data: RequestBody) -> bool:
    """Return whether JSON text has escapes of ASCII characters, which can hide a name."""
    return b"\\u00" in data and _ESCAPED.search(data) is not None
