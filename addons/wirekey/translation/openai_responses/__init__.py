"""OpenAI's Responses: https://platform.openai.com/docs/api-reference/responses."""

from wirekey.translation.openai_responses.read_request import NAMES, read_request
from wirekey.translation.openai_responses.write_request import write_request

__all__ = ["NAMES", "read_request", "write_request"]
