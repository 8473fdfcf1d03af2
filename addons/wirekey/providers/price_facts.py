"""Reads what a request asks for that changes its price: tiers of service and the like, and tools with a fee."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.core.operation import LONG_CACHE
from wirekey.providers.rare_members import IN_MESSAGES, may_have
from wirekey.providers.request_json import malformed
from wirekey.providers.tools import DEPTH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wirekey.core.operation import Modifiers, ToolUses
    from wirekey.providers.request_json import JsonObject

LONGEST_VALUE = 64
_HOUR = re.compile(rb'"(?:1|\\u0031)(?:h|\\u0068)"')


def read_modifiers(body: JsonObject, *names: str) -> Modifiers:
    """Return the modifiers under these members of a request. Raises Refusal(400) if one is no word."""
    return tuple((name, value) for name in names if (value := read_value(body, name)) is not None)


def read_value(body: JsonObject, key: str) -> str | None:
    """Return the value of a modifier; None if it is absent or null. Raises Refusal(400) if it is no word."""
    value = body.text(key)
    if value is not None and not (0 < len(value) <= LONGEST_VALUE and value.isascii() and value.isprintable()):
        raise malformed(f"{body.where(key)} must be a word of at most {LONGEST_VALUE} characters")
    return value


def long_cache(body: JsonObject) -> Modifiers:
    """Return the modifier of a request that may write to a cache for an hour, if any text in it may say so."""
    data = body.data
    if not may_have(body, IN_MESSAGES):
        return ()
    return (LONG_CACHE,) if b'"1h"' in data or (b"\\u00" in data and _HOUR.search(data)) else ()


def header_modifiers(names: Mapping[str, str], headers: Mapping[str, str]) -> Modifiers:
    """Return the modifiers in headers. `names`: header, in lower case → modifier."""
    found = ((names[name], headers.get(name, "").strip()) for name in names)
    return tuple((name, value[:LONGEST_VALUE]) for name, value in found if value)


def with_modifiers(modifiers: Modifiers, more: Modifiers) -> Modifiers:
    """Return modifiers with more of them. If both have one, that of the request's body stays."""
    return tuple((dict(more) | dict(modifiers)).items()) if more else modifiers


def typed_tools(
    tools: Iterable[JsonObject], kinds: Mapping[str, str], depth: int = 0
) -> Iterator[tuple[JsonObject, str]]:
    """Yield each tool that its provider runs for a fee, with the fee's name, groups of tools included.

    `kinds`: beginning of a tool's type → the fee's name. The longest one counts.
    """
    for tool in tools:
        kind = tool.text("type") or ""
        matching = [beginning for beginning in kinds if kind.startswith(beginning)]
        if matching:
            yield tool, kinds[max(matching, key=len)]
        if depth < DEPTH_LIMIT and tool.starts("tools", b"["):
            yield from typed_tools(tool.children("tools"), kinds, depth + 1)


def most_uses(limits: Iterable[int | None]) -> int | None:
    """Return the smallest of several limits of uses; None without a limit."""
    return min((limit for limit in limits if limit is not None and limit >= 0), default=None)


def once_each(uses: Iterable[tuple[str, int | None]]) -> ToolUses:
    """Return each tool once. Limits of the same tool add up."""
    found: dict[str, int | None] = {}
    for tool, most in uses:
        before = found.get(tool, 0)
        found[tool] = None if most is None or before is None else before + most
    return tuple(found.items())
