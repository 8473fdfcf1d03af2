"""The formats that are translated, by name. A further one is a folder, and a line here."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.features.translation.anthropic.format import ANTHROPIC
from wirekey.features.translation.converse.format import CONVERSE
from wirekey.features.translation.gemini.format import GEMINI
from wirekey.features.translation.invoke.format import INVOKE
from wirekey.features.translation.openai_chat.format import CHAT
from wirekey.features.translation.openai_responses.format import RESPONSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.features.translation.format import TranslatedFormat
    from wirekey.features.translation.format_rules import FormatRules

FORMATS: Mapping[str, TranslatedFormat] = MappingProxyType(
    {form.name: form for form in (CHAT, RESPONSES, GEMINI, ANTHROPIC, CONVERSE, INVOKE)}
)


def format_of(rules: FormatRules) -> TranslatedFormat:
    """Return the format that has some rules."""
    return FORMATS[rules.name]
