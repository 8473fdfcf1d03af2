"""A compressed response that quotes a secret ends, and one that does not passes as it came."""

from __future__ import annotations

import gzip
import zlib

import pytest

from wirekey.core.credentials.encoded_search import MOST_WAITING, EncodedSearch, KeyQuoted
from wirekey.core.metering.decoding import decoder

SECRET = b"sk-a-secret-that-is-quoted"
BODY = b"Nothing of interest. " * 500


class Unchanged:
    """A decoder of what is not compressed."""

    def feed(self, data: bytes) -> list[bytes]:
        return [data]


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_response_without_a_secret_passes_in_its_pieces(size):
    search, read = EncodedSearch(decoder("gzip"), (SECRET,)), bytearray()
    sent = pieces(gzip.compress(BODY), size)
    passed = [piece for data in sent for piece in search.feed(data, read.extend)] + search.end()
    assert passed == sent
    assert read == BODY


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_response_that_quotes_a_secret_ends_before_its_last_byte(size):
    search, passed = EncodedSearch(decoder("gzip"), (SECRET,)), bytearray()
    body = gzip.compress(BODY + SECRET + BODY)
    ended = False
    for data in pieces(body, size):
        try:
            passed += b"".join(search.feed(data, lambda _: None))
        except KeyQuoted:
            ended = True
            break
    assert ended
    assert SECRET not in gzip_of(bytes(passed))


def gzip_of(data: bytes) -> bytes:
    """Return what a client can decode."""
    return zlib.decompressobj(wbits=31).decompress(data)


def test_a_beginning_of_a_secret_waits_and_is_passed_at_the_end():
    search = EncodedSearch(Unchanged(), (SECRET,))
    assert search.feed(b"a " + SECRET[:10], lambda _: None) == []
    assert search.end() == [b"a " + SECRET[:10]]
    assert search.end() == []


def test_a_secret_that_decoders_skip_is_found():
    search = EncodedSearch(decoder("gzip"), (SECRET,))
    with pytest.raises(KeyQuoted):
        search.feed(gzip.compress(b"a") + SECRET, lambda _: None)


def test_a_response_that_waits_without_end_is_refused():
    class Silent:
        """A decoder whose output always ends with the beginning of a secret."""

        def feed(self, data: bytes) -> list[bytes]:
            return [SECRET[:5]]

    search = EncodedSearch(Silent(), (SECRET,))
    assert all(search.feed(b"x" * 1024, lambda _: None) == [] for _ in range(MOST_WAITING // 1024))
    with pytest.raises(KeyQuoted):
        search.feed(b"x", lambda _: None)
