"""Bedrock's Converse, by the service model of botocore."""

from wirekey.translation.converse.read_request import NAMES, read_request
from wirekey.translation.converse.read_response import ConverseEventReader, read_response
from wirekey.translation.converse.write_request import write_request
from wirekey.translation.converse.write_response import ConverseEventWriter, write_response

__all__ = [
    "NAMES",
    "ConverseEventReader",
    "ConverseEventWriter",
    "read_request",
    "read_response",
    "write_request",
    "write_response",
]
