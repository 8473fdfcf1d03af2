"""A key that a provider quotes is masked, however the stream is cut."""

from hypothesis import given
from hypothesis import strategies as st

from wirekey.credentials.scrub import KeyScrubber

KEY = b"sk-aab-aaab"


def scrubbed(pieces):
    scrubber = KeyScrubber(KEY)
    out = [part for piece in pieces for part in scrubber.feed(piece)]
    return out + scrubber.end()


def test_the_mask_is_as_long_as_the_key():
    assert b"".join(scrubbed([b"<" + KEY + b">"])) == b"<" + b"*" * len(KEY) + b">"


@given(
    parts=st.lists(st.sampled_from([KEY, b"sk-", b"aab", b"-aaa", b"b", b"x", b"sk-aab-aaa"]), max_size=12),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=40),
)
def test_any_cut_gives_what_the_uncut_stream_gives(parts, cuts):
    stream = b"".join(parts)
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(stream[at : at + cut])
        at += cut
    pieces.append(stream[at:])
    out = scrubbed([piece for piece in pieces if piece])
    assert b"".join(out) == stream.replace(KEY, b"*" * len(KEY))
    assert b"" not in out


def test_bytes_that_do_not_begin_the_key_are_not_held_back():
    assert KeyScrubber(KEY).feed(b"data: hello\n\n") == [b"data: hello\n\n"]


@given(sizes=st.lists(st.integers(1, 9), max_size=40))
def test_the_sign_of_a_refused_key_is_seen_whatever_the_cut(sizes):
    body = b'{"error":{"code":400,"details":[{"reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}'
    scrubber = KeyScrubber(KEY, b"API_KEY_INVALID")
    at = 0
    for size in [*sizes, len(body)]:
        scrubber.feed(body[at : at + size])
        at += size
    assert scrubber.sign_seen


def test_without_a_sign_none_is_seen():
    scrubber = KeyScrubber(KEY)
    scrubber.feed(b"API_KEY_INVALID")
    assert not scrubber.sign_seen
