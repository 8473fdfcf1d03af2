"""Gemini's generateContent: https://ai.google.dev/api/generate-content."""

from wirekey.features.translation.gemini.read_request import NAMES, read_request
from wirekey.features.translation.gemini.read_response import GeminiEventReader, read_response
from wirekey.features.translation.gemini.write_request import write_request
from wirekey.features.translation.gemini.write_response import GeminiEventWriter, write_response

__all__ = [
    "NAMES",
    "GeminiEventReader",
    "GeminiEventWriter",
    "read_request",
    "read_response",
    "write_request",
    "write_response",
]
