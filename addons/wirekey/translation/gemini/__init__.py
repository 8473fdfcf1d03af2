"""Gemini's generateContent: https://ai.google.dev/api/generate-content."""

from wirekey.translation.gemini.read_request import NAMES, read_request
from wirekey.translation.gemini.write_request import write_request

__all__ = ["NAMES", "read_request", "write_request"]
