"""Anthropic's Messages: https://platform.claude.com/docs/en/api/messages."""

from wirekey.translation.anthropic.read_request import NAMES, read_request
from wirekey.translation.anthropic.write_request import write_request

__all__ = ["NAMES", "read_request", "write_request"]
