"""Companion operations: requests of coding agents for settings, telemetry, accounts and checks of the network.

Real sessions of the agents were recorded for this table. Such requests are no API of the provider, so an SDK does not
depend on them. By default Wirekey responds 404 itself, which the agents accept.
"""

from __future__ import annotations

import re

from wirekey.body import Body
from wirekey.operation import Kind, Operation

_EVERYWHERE = (("GET|HEAD", r"/", "check"),)
_PATHS = {
    "anthropic": (
        ("GET|HEAD", r"/api/hello", "check"),
        ("GET", r"/api/claude_cli/[\w/-]+", "settings"),
        ("GET", r"/api/claude_code(?:/[\w/-]+|_\w+)", "settings"),
        ("POST", r"/api/claude_code/[\w/-]+", "telemetry"),
        ("POST", r"/api/claude_cli_feedback", "telemetry"),
        ("POST", r"/api/event_logging/[\w/-]+", "telemetry"),
        ("POST", r"/api/eval/[\w-]+", "settings"),
        ("GET", r"/api/directory/[\w/-]+", "registry"),
        ("GET", r"/mcp-registry/[\w./-]+", "registry"),
        ("GET", r"/v1/mcp_servers", "registry"),
        ("GET|POST", r"/api/oauth/[\w/-]+", "account"),
        ("GET", r"/api/organizations/[\w/-]+", "account"),
    ),
    "code_assist": (
        ("POST", r"/v1internal:(?:fetchAdminControls|setCodeAssistGlobalUserSetting)", "settings"),
        ("GET", r"/v1internal:getCodeAssistGlobalUserSetting", "settings"),
        ("POST", r"/v1internal:record\w+", "telemetry"),
    ),
}
AT_THE_GATEWAY = {
    "anthropic": (r"/api/(?:hello|claude_(?:cli|code)\w*|event_logging|eval|directory|oauth)(?:/.*)?",),
}
"""Provider → patterns of raw paths at the root of the gateway that agents call below a base URL."""

_TABLE = {
    name: [(frozenset(methods.split("|")), re.compile(path), what) for methods, path, what in (*rows, *_EVERYWHERE)]
    for name, rows in {**dict.fromkeys(("openai", "gemini", "bedrock"), ()), **_PATHS}.items()
}
_OPERATIONS = {
    (what, reads): Operation(f"companion.{what}", Body.NONE if reads else Body.OPAQUE, Kind.COMPANION)
    for rows in _TABLE.values()
    for _, _, what in rows
    for reads in (True, False)
}


def companion_operation(provider: str, method: str, path: str) -> Operation | None:
    """Return the companion operation of a method and raw path at a provider's host, or None. Custom ones have none."""
    for methods, pattern, what in _TABLE.get(provider, ()):
        if method in methods and pattern.fullmatch(path):
            return _OPERATIONS[what, method != "POST"]
    return None
