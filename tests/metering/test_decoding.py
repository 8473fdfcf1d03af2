"""Content-Encoding is decoded as the bytes pass, in any chunking and within bounds."""

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.metering.decoding import ALLOWANCE, PIECE, RATIO, DecodingError, decoder, is_plain

EVENTS = b"".join(b'data: {"n":%d,"text":"\xe2\x82\xac"}\n\n' % n for n in range(400))


def bare_deflate(data):
    body = zlib.compressobj(wbits=-15)
    return body.compress(data) + body.flush()


ENCODED = {
    "gzip": gzip.compress(EVENTS),
    "x-gzip": gzip.compress(EVENTS),
    "deflate": zlib.compress(EVENTS),
    "br": brotli.compress(EVENTS),
    "zstd": zstandard.compress(EVENTS),
}


def decoded(encoding, pieces):
    body = decoder(encoding)
    return b"".join(out for piece in pieces for out in body.feed(piece))


@pytest.mark.parametrize("encoding", ENCODED)
@given(size=st.integers(1, 300))
def test_any_chunking_decodes_to_the_whole_body(encoding, size):
    body = ENCODED[encoding]
    assert decoded(encoding, (body[at : at + size] for at in range(0, len(body), size))) == EVENTS


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_raw_deflate_data_is_decoded(size):
    body = bare_deflate(EVENTS)
    assert decoded("deflate", (body[at : at + size] for at in range(0, len(body), size))) == EVENTS


@pytest.mark.parametrize("encoding", ["GZIP", " gzip ", "Br", "ZSTD"])
def test_the_name_of_a_coding_is_case_insensitive(encoding):
    assert decoder(encoding)


@pytest.mark.parametrize("encoding", ["gzip, br", "gzip,gzip", "compress", "bz2", "rot13", "gz", "*"])
def test_other_encodings_are_not_decoded(encoding):
    assert decoder(encoding) is None
    assert not is_plain(encoding)


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_identity_is_not_a_coding(encoding):
    assert is_plain(encoding)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_all_members_are_decoded(encoding, compress):
    body = compress(b"one ") + compress(b"") + compress(b"two")
    for size in (1, 5, len(body)):
        assert decoded(encoding, (body[at : at + size] for at in range(0, len(body), size))) == b"one two"


@pytest.mark.parametrize("padding", [b"\0" * 600, b"rubbish", b"\x1f"])
def test_padding_after_gzip_is_ignored(padding):
    body = gzip.compress(b"whole") + padding
    assert decoded("gzip", [body]) == b"whole"
    assert decoded("gzip", [body[at : at + 1] for at in range(len(body))]) == b"whole"


def flushed(encoding, event):
    """Return a compressed event, flushed with the stream left open, as from a server that sends event by event."""
    if encoding == "br":
        body = brotli.Compressor()
        return body.process(event) + body.flush()
    body = zlib.compressobj(wbits=31) if encoding == "gzip" else zstandard.ZstdCompressor().compressobj()
    flush = zlib.Z_SYNC_FLUSH if encoding == "gzip" else zstandard.COMPRESSOBJ_FLUSH_BLOCK
    return body.compress(event) + body.flush(flush)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_a_flushed_event_is_decoded_immediately(encoding):
    assert decoded(encoding, [flushed(encoding, b"data: 1\n\n")]) == b"data: 1\n\n"


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_data_that_is_not_in_the_coding_is_an_error(encoding):
    with pytest.raises(DecodingError, match="Content-Encoding"):
        decoded(encoding, [b"{}" * 40])


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@given(rubbish=st.lists(st.binary(max_size=80), max_size=5))
def test_rubbish_raises_nothing_but_a_decoding_error(encoding, rubbish):
    try:
        decoded(encoding, rubbish)
    except DecodingError as error:
        assert str(error)  # noqa: PT017  # it may raise, it need not


ZEROS = bytes(2 * ALLOWANCE)


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("gzip", gzip.compress(ZEROS * 8, 1)),
        ("gzip", gzip.compress(ZEROS, 1) * 8),
        ("deflate", zlib.compress(ZEROS * 8, 1)),
        ("br", brotli.compress(ZEROS, quality=1)),
        ("zstd", zstandard.compress(ZEROS)),
        ("zstd", zstandard.compress(ZEROS) * 8),
    ],
)
def test_a_decompression_bomb_is_stopped(encoding, bomb):
    sizes = []
    with pytest.raises(DecodingError, match="expands"):
        sizes.extend(len(piece) for piece in decoder(encoding).feed(bomb))
    assert sum(sizes) <= ALLOWANCE + RATIO * len(bomb)
    assert max(sizes, default=0) <= 4 * PIECE


def test_a_zstd_window_larger_than_browsers_accept_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=26, write_content_size=False)
    body = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(DecodingError):
        decoded("zstd", [body.compress(bytes(1000)) + body.flush()])
