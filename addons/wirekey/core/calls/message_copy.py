"""Copies of a request or response, which share its body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mitmproxy import http

if TYPE_CHECKING:
    from collections.abc import Iterable


def with_fields[Message: (http.Request, http.Response)](
    message: Message, fields: Iterable[tuple[bytes, bytes]]
) -> Message:
    """Return a copy of a message, as `copy_of_message` does, with these header fields."""
    copied = copy_of_message(message)
    copied.data.headers.fields = tuple(fields)
    return copied


def copy_of_message[Message: (http.Request, http.Response)](message: Message) -> Message:
    """Return a copy of a message. Nothing that is changed in the copy changes the message."""
    copied = duplicate(message)
    copied.data = duplicate(message.data)
    copied.data.headers = duplicate(message.data.headers)
    return copied


def duplicate[Value](value: Value) -> Value:
    """Return a shallow copy of an object without slots. It does what copy.copy does, in a tenth of the time."""
    copied: Any = object.__new__(type(value))
    vars(copied).update(vars(value))
    return copied  # type: ignore[no-any-return]
