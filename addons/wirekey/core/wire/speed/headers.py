"""Headers whose look-ups take half of the instructions. A message has them once its head has arrived.

They keep no index: it would hold a credential that was removed from the fields, until the next look-up.
"""

from __future__ import annotations

from mitmproxy import http


class QuickHeaders(http.Headers):
    """mitmproxy's headers, found without a call of a method for each field."""

    def get_all(self, name: str | bytes) -> list[str]:
        """Return the values of a header, as mitmproxy's class does."""
        key = (name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")).lower()
        return [value.decode("utf-8", "surrogateescape") for field, value in self.fields if field.lower() == key]


def with_quick_headers(message: http.Message) -> None:
    """Replace the headers of a message whose fields mitmproxy has read, so that they are not checked again."""
    headers = QuickHeaders.__new__(QuickHeaders)
    headers.fields = message.data.headers.fields
    message.data.headers = headers
