"""Reads Gemini's own settings in a request of Chat Completions.

Google reads them in `extra_body.google`. SDKs add the members of a program's `extra_body` to the request itself, so
they may also stand in `google`. Programs may write `gemini_safety_settings` and `gemini_cached_content` in both places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n

if TYPE_CHECKING:
    from msgspec import Raw

    from wirekey.features.translation.losses import Losses
    from wirekey.features.translation.members import Members

_SETTINGS = ("safety_settings", "cached_content")


def google_extras(top: Members, effort: str | None, options: dict[str, Raw], losses: Losses) -> n.Thinking | None:
    """Add the settings to the options, and return how much to reason, if a program says it in this way.

    `effort` is the request's own. Raises Refusal for a member of these objects that is not known.
    """
    thinking = None
    extra = top.members("extra_body")
    for place in (extra, top):
        if place is None:
            continue
        for name in _SETTINGS:
            if (raw := place.raw(f"gemini_{name}")) is not None:
                options.setdefault(f"gemini_{name}", raw)
        if google := place.members("google"):
            found = _google(google, effort, options, losses)
            thinking = thinking or found
    if extra:
        extra.refuse_unread(losses)
    return thinking


def _google(google: Members, effort: str | None, options: dict[str, Raw], losses: Losses) -> n.Thinking | None:
    for name in _SETTINGS:
        if (raw := google.raw(name)) is not None:
            options.setdefault(name, raw)
    thinking = None
    if config := google.members("thinking_config"):
        budget, level = config.integer("thinking_budget"), config.text("thinking_level")
        show = bool(config.flag("include_thoughts"))
        thinking = n.Thinking(level or effort, None if level or effort else budget, show)
        config.refuse_unread(losses)
    google.refuse_unread(losses)
    return thinking
