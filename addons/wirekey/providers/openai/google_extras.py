"""Gemini's settings in OpenAI's chat format: `gemini_safety_settings` and `gemini_cached_content`.

OpenAI's SDK adds the members of `extra_body` to the request. Google reads its own settings from `extra_body.google`:
https://ai.google.dev/gemini-api/docs/openai#extra-body
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.providers.request_json import malformed

if TYPE_CHECKING:
    from wirekey.providers.json_edits import EditableBody, Members

NAMES = MappingProxyType(
    {"gemini_safety_settings": "safety_settings", "gemini_cached_content": "cached_content"},
)
"""Member of a program's request → member of `extra_body.google`."""


def move_google_extras(body: EditableBody) -> None:
    """Move Gemini's settings to where Google reads them. Raises Refusal(400) if one is there twice."""
    if b"gemini_" not in body.data:
        return
    root = body.root
    inner = root.child("extra_body") if root.members.starts("extra_body", b"{") else None
    moved: dict[str, bytes | Members] = {}
    for parent in filter(None, (root, inner)):
        for name, google in NAMES.items():
            if name not in parent.members.values:
                continue
            if google in moved:
                raise malformed(f"{name} appears twice: also in extra_body")
            moved[google] = bytes(parent.members.values[name])
            parent.remove(name)
    if moved:
        root.set({"extra_body": {"google": moved}})
