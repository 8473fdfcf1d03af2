"""Bedrock's Converse, by the service model of botocore."""

from wirekey.translation.converse.read_request import NAMES, read_request
from wirekey.translation.converse.write_request import write_request

__all__ = ["NAMES", "read_request", "write_request"]
