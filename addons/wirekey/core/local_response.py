"""Responses that Wirekey itself makes: tokens, errors, health, pages of the console."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LocalResponse:
    """A complete HTTP response. Its headers include `content-length`. The body is left out of its `repr`."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __repr__(self) -> str:
        return f"LocalResponse({self.status})"


def local_error(status: int, code: str, description: str, *headers: tuple[str, str]) -> LocalResponse:
    """Return an error response in the form of OAuth 2.0: `{"error": code, "error_description": description}`."""
    return local_json(status, {"error": code, "error_description": description}, *headers)


def local_json(status: int, content: dict[str, object], *headers: tuple[str, str]) -> LocalResponse:
    """Return a JSON response that no cache may store. `headers` are added to the usual ones."""
    body = json.dumps(content).encode()
    fixed = (
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("pragma", "no-cache"),
        ("content-length", str(len(body))),
    )
    return LocalResponse(status, (*fixed, *headers), body)
