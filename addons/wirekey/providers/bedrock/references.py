"""The members of Bedrock's requests that refer to input which is not in the request.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.metering.long_strings import outline
from wirekey.providers.anthropic import references as of_claude
from wirekey.providers.brought_tools import could_mention
from wirekey.providers.references import is_filled, refers_to

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.providers.request_json import JsonObject

_KINDS = ("image", "document", "video", "audio")
_INNER = ("messages", "system", "content", "toolResult", "source", "toolConfig", "tools", *_KINDS)
_REFERRING = ("s3Location", "systemTool")
"""A file in S3, and a tool that AWS runs."""
_NAMES = tuple(f'"{name}"'.encode() for name in _REFERRING)
_STORED_PROMPT = ":prompt/"
"""In the ARN of a prompt, which is named in the place of a model."""


def reads_elsewhere(model: str | None, body: JsonObject, own: JsonObject | None, tools: Iterable[JsonObject]) -> bool:
    """Return whether a request refers to input that is not in it.

    `own`: what it has of the model's own body, with the `tools` offered there.
    """
    if model and _STORED_PROMPT in model:
        return True
    if own and of_claude.reads_elsewhere(own, tools):
        return True
    return could_mention(outline(body.data), *_NAMES) and refers_to(body, _INNER, _names_file)


def _names_file(inner: JsonObject) -> bool:
    return is_filled(inner, _REFERRING)
