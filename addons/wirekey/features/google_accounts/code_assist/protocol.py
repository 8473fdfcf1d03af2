"""The names of Code Assist's API, in one place: it is not published, and may change.

The source of Google's own command-line program shows it.
"""

from __future__ import annotations

PREFIX = "/v1internal"
LOAD = f"{PREFIX}:loadCodeAssist"
ONBOARD = f"{PREFIX}:onboardUser"

TARGETS = {
    "generateContent": f"{PREFIX}:generateContent",
    "streamGenerateContent": f"{PREFIX}:streamGenerateContent?alt=sse",
    "countTokens": f"{PREFIX}:countTokens",
}
"""Gemini's operation → path and query at Code Assist."""

GENERATION_MEMBERS = {
    "contents": "contents",
    "systemInstruction": "system_instruction",
    "cachedContent": "cached_content",
    "tools": "tools",
    "toolConfig": "tool_config",
    "labels": "labels",
    "safetySettings": "safety_settings",
    "generationConfig": "generation_config",
    "session_id": "sessionId",
}
"""Members of a request inside the envelope, in both spellings that Google's servers read."""
COUNT_MEMBERS = {"contents": "contents"}

METADATA = {"ideType": "IDE_UNSPECIFIED", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"}
"""The description of the client in a request for its project."""

FREE_TIER = "free-tier"
LEGACY_TIER = "legacy-tier"
VALIDATION_REQUIRED = "VALIDATION_REQUIRED"
