"""The envelope that Code Assist wants around a request of Gemini's API. Pure.

The client's own bytes are in it unchanged: prompt caches and hashes of the request stay valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wirekey.core.errors import Refusal
from wirekey.features.google_accounts.code_assist.protocol import COUNT_MEMBERS, GENERATION_MEMBERS, TARGETS
from wirekey.providers.request_json import read_body

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.core.body import RequestBody

COUNT = "countTokens"


def target_of(operation: str) -> str:
    """Return the path and query of an operation of Gemini at Code Assist."""
    return TARGETS[operation]


def check_members(operation: str, names: Iterable[str]) -> None:
    """Raise Refusal(400) if a request has a member that Code Assist does not know, or lacks its contents."""
    members = COUNT_MEMBERS if operation == COUNT else GENERATION_MEMBERS
    known = {*members, *members.values()}
    given = list(names)
    for name in given:
        if name not in known:
            raise Refusal(
                400,
                "format_not_offered",
                f"{name[:64]!r} is not a member that Code Assist knows in a request for {operation}. Remove it, or use "
                f"the provider gemini. It knows {', '.join(members)}.",
                param=name[:64],
            )
    if "contents" not in given:
        raise Refusal(400, "malformed_body", f"contents is missing in the request for {operation}.", param="contents")


def check_body(operation: str, body: RequestBody) -> None:
    """Raise Refusal(400) unless Code Assist knows every member of a request of Gemini's API."""
    check_members(operation, read_body(body).values)


def wrapped(operation: str, model: str, project: str | None, prompt_id: str, body: RequestBody) -> RequestBody:
    """Return a request of Gemini's API in its envelope.

    `model`: without `models/`. `project` None: an account without a project, as of the free tier. `prompt_id`: names
    the call at Google. The body must be one JSON object with the members that `check_body` allows.
    """
    if operation == COUNT:
        start = body.find(b"{") + 1
        before = b'{"request":{"model":%b,' % _text(f"models/{model}")
        return _joined(body, before, start, b"}")
    parts = [b'{"model":%b,' % _text(model)]
    if project:
        parts.append(b'"project":%b,' % _text(project))
    parts.append(b'"user_prompt_id":%b,"request":' % _text(prompt_id))
    return _joined(body, b"".join(parts), 0, b"}")


def _joined(body: RequestBody, before: bytes, start: int, after: bytes) -> RequestBody:
    if isinstance(body, bytes):
        return b"".join((before, memoryview(body)[start:], after))
    return body.joined((before, memoryview(body)[start:], after))


def _text(value: str) -> bytes:
    return msgspec.json.encode(value)
