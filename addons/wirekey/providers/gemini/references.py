"""The members of Gemini's requests that refer to input which is not in the request.

https://ai.google.dev/api/generate-content, …/docs/interactions
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.metering.long_strings import outline
from wirekey.providers.brought_tools import could_mention
from wirekey.providers.references import is_filled, refers_to, type_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.providers.request_json import JsonObject

OF_REQUEST = ("cachedContent", "cached_content", "semanticRetriever", "semantic_retriever")
OF_INTERACTION = ("previous_interaction_id", "previousInteractionId", "agent")
RUN_BY_CLIENT = frozenset({"functionDeclarations", "computerUse"})
"""Tools that the program runs. The provider runs all others, and reads what they find."""

_INNER = (
    *("content", "contents", "parts", "requests", "systemInstruction", "system_instruction"),
    *("functionResponse", "function_response"),
)
_FILES = ("fileData", "file_data")
FILE_NAMES = tuple(f'"{name}"'.encode() for name in _FILES)


def reads_elsewhere(body: JsonObject, tools: Iterable[str]) -> bool:
    """Return whether a request with contents refers to input that is not in it. `tools`: the kinds that it offers."""
    if is_filled(body, OF_REQUEST) or not RUN_BY_CLIENT.issuperset(tools):
        return True
    return could_mention(outline(body.data), *FILE_NAMES) and refers_to(body, _INNER, _names_file)


def interaction_reads_elsewhere(body: JsonObject, tools: Iterable[JsonObject]) -> bool:
    """Return whether an interaction refers to input that is not in it. `tools`: those that it offers."""
    if is_filled(body, OF_INTERACTION) or any(type_of(tool) not in ("function", "computer_use") for tool in tools):
        return True
    return could_mention(outline(body.data), b'"uri"') and refers_to(body, ("input", *_INNER), _names_uri)


def _names_uri(content: JsonObject) -> bool:
    return content.filled("uri")


def _names_file(part: JsonObject) -> bool:
    return is_filled(part, _FILES)
