"""OpenAI's Chat Completions: https://platform.openai.com/docs/api-reference/chat."""

from wirekey.translation.openai_chat.read_request import NAMES, read_request
from wirekey.translation.openai_chat.write_request import write_request

__all__ = ["NAMES", "read_request", "write_request"]
