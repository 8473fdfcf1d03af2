"""The behaviours that a test can ask for in one response: `events=20, pace=0.01, gzip`."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
SIZE = re.compile(r"(\d+)([KMG]i?B)?")
MODEL = re.compile(r"(?:^|[./:-])sim-([a-z-]+?)(?:-(\d+(?:\.\d+)?(?:[KMG]i?B)?))?(?:$|[:@])")
SHORT = {name: f"{name}-after" for name in ("reset", "truncate", "stall", "error", "garble")}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one response is made and sent. Every field is a word of the `x-simulator` header, `_` written as `-`.

    An *event* is one piece of a stream as the provider sends it, including its first and last ones. A `…_after` of 0
    strikes before the first byte of the response. On a response that is not a stream, any other number strikes in the
    middle of its body.
    """

    events: int | None = None
    """Pieces that the text is cut into."""
    size: int | None = None
    """Bytes of text in the response; units as in 10MiB."""
    pace: float = 0.0
    """Seconds between two events."""
    unicode: bool = False
    """Text of characters of two to four bytes."""
    gzip: bool = False
    br: bool = False
    tokens: int | None = None
    """Output tokens to report, including those of reasoning."""
    input_tokens: int | None = None
    """Input tokens to report, including cached ones."""
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    fail: int | None = None
    """Respond with this status, in the provider's error shape."""
    retry_after: float | None = None
    """Seconds, sent as the header `retry-after`."""
    echo_key: bool = False
    """Refuse the credential with a message that quotes it."""
    reset_after: int | None = None
    """TCP RST, or RST_STREAM."""
    truncate_after: int | None = None
    """Close the connection as if the response were complete."""
    stall_after: int | None = None
    """Stop sending, and keep the connection."""
    cut: bool = False
    """Send only half of the last event before the response breaks off."""
    error_after: int | None = None
    """The provider's error event inside a stream."""
    garble_after: int | None = None
    """One malformed event, then continue."""
    mask_after: int | None = None
    """On a WebSocket, a masked frame, which only a client may send."""
    rubbish: bool = False
    """Bytes that are not HTTP."""
    crlf: bool = False
    """SSE lines end with CR LF."""
    tight: bool = False
    """SSE fields without the space after the colon."""
    comments: bool = False
    """An SSE comment before each event."""
    no_done: bool = False
    """Leave out the last event of the stream."""
    split: int | None = None
    """The size in bytes of the pieces in which the body is written."""
    headers_delay: float = 0.0
    """Seconds before the first byte of the response."""
    unread: bool = False
    """Do not read a request that streams while its response does, so that its window closes."""
    gate: bool = False
    """Wait before the second event until the gate is opened."""

    at_once: bool = False
    """Head and body in one write; otherwise the body follows the head in a write of its own, a moment later."""
    bytewise: bool = False
    """The first 512 bytes of the response, head included, in writes of one byte each."""
    pauses: bool = False
    """A body of unknown length, in chunks, or in DATA frames with empty ones among them; a pause in each and after."""
    hints: bool = False
    """103 Early Hints before the response."""
    close: bool = False
    """Send `Connection: close` and close after this response; over HTTP/2 as `goaway`."""
    early: bool = False
    """Respond as soon as the body pauses at a space, as if the part received by then were the whole body."""
    goaway: bool = False
    """Over HTTP/2, a GOAWAY before the response that names this request as the last; over HTTP/1.1 as `close`."""
    disown: bool = False
    """No response: over HTTP/2 a GOAWAY that names the previous request as the last; over HTTP/1.1 a close."""

    @property
    def strikes_at(self) -> int | None:
        """Events after which this response breaks off, or None if it ends normally."""
        counts = [n for n in (self.reset_after, self.truncate_after, self.stall_after) if n is not None]
        return min(counts, default=None)

    @property
    def is_plain(self) -> bool:
        """Return whether the whole body is sent at once, in one write."""
        slow = self.headers_delay or self.split or self.bytewise or self.pauses or self.hints
        broken = self.rubbish or self.disown or self.strikes_at is not None
        return self.at_once and not (slow or broken or self.ends_connection)

    @property
    def ends_connection(self) -> bool:
        """Return whether the connection closes after this response."""
        return self.close or self.goaway


KINDS = {field.name.replace("_", "-"): str(field.type) for field in fields(Behaviour)}
PLAIN = Behaviour()


def parse_behaviour(*texts: str) -> Behaviour:
    """Parse comma-separated words. If two texts have the same word, the later one wins.

    Raises ValueError with a sentence that names the word and, if a known one is similar, suggests it.
    """
    values: dict[str, Any] = {}
    for text in texts:
        for word in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = (part.strip() for part in word.partition("="))
            values[name.replace("-", "_")] = _value(name, value)
    return Behaviour(**values) if values else PLAIN


def behaviour_of_model(model: str) -> str:
    """Return the behaviour in a model's name: `sim-fail-429` is `fail=429`. Return "" for other models."""
    if "sim-" not in model or not (match := MODEL.search(model)):
        return ""
    name, value = match[1], match[2]
    name = SHORT.get(name, name)
    if name not in KINDS:
        return ""
    if name.endswith("-after") and value is None:
        value = "1"
    return name if value is None else f"{name}={value}"


def _value(name: str, value: str) -> int | float | bool:
    kind = KINDS.get(name)
    if kind is None:
        near = get_close_matches(name, KINDS, 1)
        meant = f"did you mean {near[0]}?" if near else f"known are: {', '.join(KINDS)}"
        raise ValueError(f"the simulator knows no behaviour {name!r}; {meant}")
    if "bool" in kind:
        if value not in ("", "1", "true", "0", "false"):
            raise ValueError(f"the behaviour {name!r} takes no value, but has {value!r}")
        return value not in ("0", "false")
    try:
        number = float(value) if "float" in kind else _whole(value)
    except ValueError:
        number = -1
    if not 0 <= number < 1e15:
        raise ValueError(f"the behaviour {name!r} needs a number, as in {name}=3, but has {value!r}")
    if name == "fail" and not 400 <= number <= 599:
        raise ValueError(f"the behaviour 'fail' needs a status from 400 to 599, as in fail=429, but has {value!r}")
    return number


def _whole(value: str) -> int:
    if not (match := SIZE.fullmatch(value)):
        raise ValueError
    return int(match[1]) * UNITS[match[2] or ""]
