"""OpenAI's Chat Completions: https://platform.openai.com/docs/api-reference/chat."""

from wirekey.features.translation.openai_chat.read_request import NAMES, read_request
from wirekey.features.translation.openai_chat.read_response import ChatEventReader, read_response
from wirekey.features.translation.openai_chat.write_request import write_request
from wirekey.features.translation.openai_chat.write_response import ChatEventWriter, write_response

__all__ = [
    "NAMES",
    "ChatEventReader",
    "ChatEventWriter",
    "read_request",
    "read_response",
    "write_request",
    "write_response",
]
