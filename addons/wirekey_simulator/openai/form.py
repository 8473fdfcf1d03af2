"""Multipart forms (RFC 7578) of OpenAI's requests with files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tornado.httputil import HTTPFile, HTTPInputError, parse_body_arguments

from wirekey_simulator.exchange import BadRequest

if TYPE_CHECKING:
    from wirekey_simulator.exchange import SimulatedRequest


@dataclass(frozen=True, slots=True)
class Form:
    """Text fields and files by name. `whole` is False if the body was too large to keep and parse."""

    fields: dict[str, str]
    files: dict[str, list[HTTPFile]]
    whole: bool = True

    def required(self, name: str) -> str:
        """Return a text field. Raises BadRequest if it is missing."""
        value = self.fields.get(name)
        if not value:
            raise missing(name)
        return value

    def file(self, *names: str) -> HTTPFile:
        """Return the first file under one of these names. Raises BadRequest if the form has no such file."""
        for name in names:
            if self.files.get(name):
                return self.files[name][0]
        raise missing(names[0])


def missing(name: str) -> BadRequest:
    """Return the error for a missing parameter."""
    return BadRequest(f"Missing required parameter: '{name}'.", code="missing_required_parameter", field=name)


def read_form(request: SimulatedRequest) -> Form:
    """Parse the multipart form. Raises BadRequest if the body is not one."""
    content_type = request.header("content-type")
    if not content_type.startswith("multipart/form-data"):
        raise BadRequest(f"Invalid content type: expected multipart/form-data, but got {content_type or 'none'}.")
    if request.size != len(request.body):
        return Form({}, {}, whole=False)
    fields: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    try:
        parse_body_arguments(content_type, request.body, fields, files)
    except HTTPInputError as error:
        raise BadRequest(f"We could not read the multipart form of your request: {error}") from None
    if not fields and not files:
        raise BadRequest("We could not read the multipart form of your request: it has no part.")
    return Form({name: values[-1].decode("utf-8", "replace") for name, values in fields.items()}, files)
