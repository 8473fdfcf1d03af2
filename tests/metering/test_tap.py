"""The tap feeds passing bytes to a reader, and stops if it cannot decode them."""

import gzip

import pytest

from wirekey.core.metering.tap import Tap
from wirekey.core.operation import Usage


class Recorder:
    def __init__(self, finished_by=None):
        self.usage, self.error_type = Usage(), None
        self.finished_by = finished_by
        self.fed = []
        self.ends = 0

    @property
    def finished(self):
        return self.finished_by is not None and self.finished_by in b"".join(self.fed)

    def feed(self, data):
        self.fed.append(data)

    def end(self):
        self.ends += 1


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_plain_chunks_reach_the_reader_uncopied(encoding):
    reader, chunk = Recorder(), b"data: 1\n\n"
    Tap(reader, encoding).feed(chunk)
    assert reader.fed[0] is chunk


def test_compressed_chunks_reach_the_reader_decoded():
    reader, body = Recorder(), gzip.compress(b"data: 1\n\n")
    tap = Tap(reader, "gzip")
    for at in range(len(body)):
        tap.feed(body[at : at + 1])
    assert b"".join(reader.fed) == b"data: 1\n\n"


def test_empty_chunks_do_not_reach_the_reader():
    reader = Recorder()
    Tap(reader).feed(b"")
    assert reader.fed == []


@pytest.mark.parametrize("encoding", ["gzip, br", "compress"])
def test_an_encoding_that_cannot_be_decoded_is_not_read(encoding):
    reader = Recorder()
    tap = Tap(reader, encoding)
    tap.feed(b"whatever")
    tap.end()
    assert tap.reader is None
    assert (reader.fed, reader.ends) == ([], 0)


def test_a_response_that_is_not_in_its_encoding_is_not_read():
    tap = Tap(Recorder(), "gzip")
    tap.feed(b"plain text")
    tap.feed(gzip.compress(b"data: 1\n\n"))
    tap.end()
    assert tap.reader is None


def test_a_decompression_bomb_is_not_read():
    tap = Tap(Recorder(), "gzip")
    tap.feed(gzip.compress(bytes(2**24), 9) * 4)
    assert tap.reader is None


def test_the_usage_of_a_whole_response_stays_if_rubbish_follows():
    reader = Recorder(finished_by=b"[DONE]")
    tap = Tap(reader, "zstd")
    import zstandard

    tap.feed(zstandard.compress(b"data: [DONE]\n\n"))
    tap.feed(b"rubbish")
    tap.end()
    assert tap.reader is reader
    assert reader.ends == 1


def test_the_reader_is_ended_once():
    reader = Recorder()
    tap = Tap(reader)
    tap.end()
    tap.end()
    tap.feed(b"late")
    assert (reader.ends, reader.fed) == (1, [])


def test_a_tap_works_without_a_reader():
    tap = Tap(None, "gzip")
    tap.feed(b"x")
    tap.end()
    assert tap.reader is None
