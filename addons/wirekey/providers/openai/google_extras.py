"""Gemini's settings in OpenAI's chat format: `gemini_safety_settings` and `gemini_cached_content`.

OpenAI's SDK adds the members of `extra_body` to the request. Google reads its own settings from `extra_body.google`:
https://ai.google.dev/gemini-api/docs/openai#extra-body
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.providers.request_json import malformed

if TYPE_CHECKING:
    from wirekey.providers.json_edits import EditableBody, EditableObject, Members

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


def set_chat_parameters(root: EditableObject, parameters: Members) -> None:
    """Set the parameters of a model's name in a chat that Google reads.

    Effort and budget exclude each other at Google, so the other one is removed. A budget in the name comes before an
    effort in the name.
    """
    wanted = dict(parameters)
    budget = wanted.pop("thinking_budget", None)
    if budget is not None:
        wanted.pop("reasoning_effort", None)
        if "reasoning_effort" in root.members.values:
            root.remove("reasoning_effort")
        _remove_thinking(root, keep="thinking_budget")
    elif "reasoning_effort" in wanted:
        _remove_thinking(root)
    if budget is not None:
        wanted["extra_body"] = {"google": {"thinking_config": {"thinking_budget": budget}}}
    root.set(wanted)


def _remove_thinking(root: EditableObject, keep: str = "") -> None:
    """Remove how much to reason from `extra_body.google`, and from `google`, where SDKs may put it.

    `keep`: the member of `extra_body.google` that is set next, as a removed one cannot be set again.
    """
    extra = root.child("extra_body") if root.members.starts("extra_body", b"{") else None
    for parent in (extra, root):
        google = parent.child("google") if parent and parent.members.starts("google", b"{") else None
        config = google.child("thinking_config") if google and google.members.starts("thinking_config", b"{") else None
        for name in ("thinking_budget", "thinking_level"):
            if config and name in config.members.values and not (parent is extra and name == keep):
                config.remove(name)
