"""Bedrock's Converse, by the service model of botocore."""

from wirekey.features.translation.converse.read_request import NAMES, read_request
from wirekey.features.translation.converse.read_response import ConverseEventReader, read_response
from wirekey.features.translation.converse.write_request import write_request
from wirekey.features.translation.converse.write_response import ConverseEventWriter, write_response

__all__ = [
    "NAMES",
    "ConverseEventReader",
    "ConverseEventWriter",
    "read_request",
    "read_response",
    "write_request",
    "write_response",
]
