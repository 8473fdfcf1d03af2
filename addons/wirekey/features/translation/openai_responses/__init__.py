"""OpenAI's Responses: https://platform.openai.com/docs/api-reference/responses."""

from wirekey.features.translation.openai_responses.read_request import NAMES, read_request
from wirekey.features.translation.openai_responses.read_response import read_response
from wirekey.features.translation.openai_responses.read_stream import ResponsesEventReader
from wirekey.features.translation.openai_responses.write_request import write_request
from wirekey.features.translation.openai_responses.write_response import write_response
from wirekey.features.translation.openai_responses.write_stream import ResponsesEventWriter

__all__ = [
    "NAMES",
    "ResponsesEventReader",
    "ResponsesEventWriter",
    "read_request",
    "read_response",
    "write_request",
    "write_response",
]
