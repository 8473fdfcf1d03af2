"""A stream that used too much ends after a whole event, in each format and however its bytes arrive."""

import json

import pytest

from tests.metering.test_deltas import FORMATS
from tests.support.recorded_calls import call_of
from wirekey.core.call import Outcome
from wirekey.core.calls.response_tap import ResponseTap
from wirekey.core.errors import Refusal
from wirekey.core.metering.deltas import DeltaCounter
from wirekey.core.metering.tap import Tap
from wirekey.core.wire.delegate import ResponseRefused

TOO_MUCH = Refusal(429, "insufficient_quota", "Too much.")
ENDS = {"gemini, array": b"}"}


class Limit:
    """A meter that refuses after a number of bytes of text."""

    def __init__(self, reader, most: int) -> None:
        reader.deltas = DeltaCounter(reader.texts)
        self.reader, self.most, self.refusal = reader, most, None

    def note(self) -> None:
        if self.reader.deltas.counted > self.most:
            self.refusal = TOO_MUCH


class Calls:
    def of(self, _):
        return call_of()


def passed_by(name: str, size: int, most: int) -> tuple[bytes, ResponseRefused | None]:
    """Return what the client gets of a stream, and how it ends."""
    make, data = FORMATS[name]
    tap = ResponseTap(Calls(), None, Tap(make()))
    tap.meter = Limit(tap.tap.reader, most)
    got = b""
    try:
        for start in range(0, len(data), size):
            got += b"".join(tap(data[start : start + size]))
    except ResponseRefused as refused:
        return got + b"".join(refused.passed), refused
    return got + b"".join(tap(b"")), None


def is_whole(name: str, data: bytes) -> bool:
    """Return whether bytes end with a whole event."""
    if name == "gemini, array":
        return isinstance(json.loads(data + b"]"), list)
    reader = FORMATS[name][0]()
    reader.feed(data)
    return reader.is_between_events


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("name", FORMATS)
def test_the_client_gets_whole_events_before_the_error(name, size):
    got, refused = passed_by(name, size, 3)
    data = FORMATS[name][1]
    if size == 1 << 20 and refused is None:
        pytest.fail("the whole stream is one chunk, and has too much")
    assert data.startswith(got)
    if refused is not None:  # its last event may be the one with too much
        assert refused.refusal is TOO_MUCH
        assert refused.outcome is Outcome.INTERRUPTED
        assert is_whole(name, got)
    else:
        assert got == data


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_within_its_limit_passes_unchanged(name, size):
    assert passed_by(name, size, 1 << 20) == (FORMATS[name][1], None)


def test_the_copies_get_what_the_client_gets():
    make, data = FORMATS["chat"]
    tap = ResponseTap(Calls(), None, Tap(make()))
    tap.meter = Limit(tap.tap.reader, 3)

    class Copy:
        got = b""

        def feed(self, part):
            self.got += part

    copy = Copy()
    tap.copies = (copy,)
    with pytest.raises(ResponseRefused) as refused:
        tap(data)
    assert copy.got == b"".join(refused.value.passed) == data
