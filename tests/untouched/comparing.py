"""What may differ between a message before Wirekey and after it: the named headers, and nothing else."""

from __future__ import annotations

import re

from tests.untouched.messages import Message, name_of, value_of

SERVER = (b"host", b":authority")
"""Headers of requests that keep their place and spelling, and name the provider's server instead of Wirekey's."""
KEYS = (b"authorization", b"x-api-key", b"x-goog-api-key")
"""Headers of requests that are removed. The provider's key is in one of them, as the last header."""
OF_ONE_CONNECTION = (b"connection", b"keep-alive", b"te", b"proxy-connection", b"proxy-authorization")
"""Headers that are about one connection (RFC 9110, 7.6.1), which Wirekey does not pass on."""
FRAMING = (b"content-length", b"transfer-encoding")
"""A request in chunks is read before it is sent, and then has its length. One that is edited has another length."""
REASON = re.compile(rb"(?<=\AHTTP/1\.1 \d\d\d ).*\Z")
"""The reason of a status is the usual one: clients must ignore it (RFC 9112, 4)."""
USAGE_WISH = b'"stream_options":{"include_usage":true},'
"""What Wirekey adds to a streamed chat request of OpenAI that does not ask for its usage."""


def differences(sent: Message, arrived: Message) -> list[str]:
    """Return what differs otherwise, in words, for a request or a response."""
    found = []
    if start_of(sent) != start_of(arrived):
        found.append(f"start line: {sent.start!r} → {arrived.start!r}")
    is_edited = USAGE_WISH in arrived.body and USAGE_WISH not in sent.body
    is_reframed = bool(sent.values(b"transfer-encoding")) and arrived.values(b"content-length") == [length_of(arrived)]
    skipped = FRAMING if is_edited or is_reframed else ()
    before, after = lines_of(sent, skipped), lines_of(arrived, skipped)
    if before != after:
        missing = [line for line in before if line not in after]
        added = [line for line in after if line not in before]
        wrong = f"without {missing}, with {added}" if missing or added else f"another order: {before} → {after}"
        found.append(f"headers: {wrong}")
    body = arrived.body.replace(USAGE_WISH, b"", 1) if is_edited else arrived.body
    if body != sent.body:
        found.append(f"body: {sent.body[:80]!r} → {arrived.body[:80]!r}")
    # Trailers (RFC 9110, 6.5.1) and responses of status 1xx (15.2) are dropped. None may be added or become a header.
    for name in ("trailers", "interim"):
        if getattr(arrived, name):
            found.append(f"{name}: {getattr(arrived, name)}")
    return found


def length_of(message: Message) -> bytes:
    return str(len(message.body)).encode()


def start_of(message: Message) -> bytes:
    """Return the start line, that of a response without its reason."""
    return REASON.sub(b"", message.start)


def lines_of(message: Message, skipped: tuple[bytes, ...]) -> list[bytes]:
    """Return the lines that must be the same. Of those that name the server, only the name."""
    found = []
    for written in message.lines:
        name = name_of(written)
        # Space around a value is not part of it (RFC 9110, 5.5).
        line = written[: len(name)] + b": " + value_of(written)
        if name in SERVER:
            found.append(line[: len(name)])
        elif name == b"transfer-encoding" and name not in skipped:
            found.append(line.lower())
        elif name not in (*KEYS, *OF_ONE_CONNECTION, *skipped):
            found.append(line)
    # The order of pseudo-headers says nothing (RFC 9113, 8.3).
    return [*sorted(line for line in found if line.startswith(b":")), *(line for line in found if line[:1] != b":")]


def keys_of(message: Message) -> list[bytes]:
    """Return the names of the headers with a key, which must be one."""
    return [name for name in map(name_of, message.lines) if name in KEYS]
