"""Anthropic's Messages: https://platform.claude.com/docs/en/api/messages."""

from wirekey.features.translation.anthropic.read_request import NAMES, read_request
from wirekey.features.translation.anthropic.read_response import AnthropicEventReader, read_response
from wirekey.features.translation.anthropic.write_request import write_request
from wirekey.features.translation.anthropic.write_response import AnthropicEventWriter, write_response

__all__ = [
    "NAMES",
    "AnthropicEventReader",
    "AnthropicEventWriter",
    "read_request",
    "read_response",
    "write_request",
    "write_response",
]
