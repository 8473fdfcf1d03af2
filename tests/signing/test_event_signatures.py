"""Events are passed on only if they verify, each in its place, with new signatures in a chain of their own."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.event_stream import SEED, chunk_signature, date, frame, read, signature_of, signed_frames
from tests.support.signed_requests import ACCESS_KEY, NOW, SECRET
from wirekey.core.secret import Secret
from wirekey.core.signing.canonical import SigningKeyCache
from wirekey.core.signing.event_frames import FRAME_LIMIT
from wirekey.core.signing.event_signatures import CLOCK_SKEW, EventResigner, EventSignatures
from wirekey.core.signing.refusal import SignatureRefused
from wirekey.core.signing.request import SigV4Credentials

REAL_SECRET = "real/secret"
REAL_SEED = "cd" * 32
PAYLOADS = [b"first", b"", b"third" * 1000, b"\x00\xff", b""]


def chain(secret: str = SECRET, seed: str = SEED, region: str = "us-east-1") -> EventSignatures:
    return EventSignatures(SigV4Credentials(ACCESS_KEY, Secret(secret)), region, "bedrock", seed, SigningKeyCache())


def resigner(*, verifies: bool = True) -> EventResigner:
    return EventResigner(chain() if verifies else None, chain(REAL_SECRET, REAL_SEED))


def passed_on(frames, now: float = NOW, *, verifies: bool = True) -> list[bytes]:
    """Return the payloads that are passed on of these pieces. Raises SignatureRefused."""
    made = resigner(verifies=verifies)
    sent = b"".join(part for piece in frames for part in made.feed(piece, now))
    made.end()
    return [payload for _, _, payload in read(sent)]


def test_the_chain_is_that_of_aws_sdk_for_go():
    """The values of its own test, in which the time is 10 s, 20 s and twice 30 s after the epoch."""
    pair = SigV4Credentials("AKID", Secret("SECRET"))
    made = EventSignatures(pair, "us-east-1", "transcribestreaming", b"foobarbazqux".hex(), SigningKeyCache())
    digests = {
        b"foo": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        b"bar": "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9",
        b"baz": "baa5a0964d3320fbc0c6a922140453c8513ea24ab8fd0577034804a967248096",
        b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    signatures = [
        made.next(seconds, data, digests[data]).hex()
        for seconds, data in ((10, b"foo"), (20, b"bar"), (30, b"baz"), (30, b""))
    ]
    assert signatures == [
        "e3a136405ec1152f62136742efd41f8639cd647a1cf21fab12aedb22cccd8999",
        "92a6ad677e839d3003672cb2cefc71ef80d42e8cb300fefce0807e8398c74068",
        "46d6660bd40f2ff5d6246a347895cabe7f4e89d9e1f4c6dad6dabdc801923be1",
        "492bcb3e21de447c85f8a9bef6c0eb833e992e405b9b3584be84edaccc5aad18",
    ]


def test_events_go_on_with_their_payload_the_present_time_and_the_other_chain():
    made = resigner()
    now = NOW + 7.25
    sent = b"".join(part for piece in signed_frames(PAYLOADS) for part in made.feed(piece, now))
    made.end()
    assert made.events == len(PAYLOADS)
    previous = REAL_SEED
    for (at, signature, payload), wanted in zip(read(sent), PAYLOADS, strict=True):
        assert (at, payload) == (now, wanted)
        assert signature == signature_of(previous, now, payload, REAL_SECRET)
        previous = signature.hex()


@given(st.lists(st.binary(max_size=200), max_size=6), st.lists(st.integers(1, 300), max_size=40))
def test_a_stream_may_be_cut_anywhere(payloads, sizes):
    whole = b"".join(signed_frames(payloads))
    pieces, at = [], 0
    for size in sizes:
        pieces.append(whole[at : at + size])
        at += size
    assert passed_on([*pieces, whole[at:]]) == payloads
    assert passed_on([whole]) == payloads


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4), st.data())
def test_no_byte_of_a_stream_can_be_changed(payloads, data):
    whole = bytearray(b"".join(signed_frames(payloads)))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureRefused):
        passed_on([bytes(whole)])


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4), st.data())
def test_what_is_passed_on_before_an_error_does_not_depend_on_the_cuts(payloads, data):
    frames = signed_frames([*payloads, b"forged"])
    whole = b"".join([*frames[:-1], frame(date(NOW) + chunk_signature(b"\0" * 32), b"forged"), frames[0]])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    made, found = resigner(), []

    def feed():
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            for part in made.feed(whole[start:end], NOW):
                found.append(part)

    with pytest.raises(SignatureRefused):
        feed()
    assert [payload for _, _, payload in read(b"".join(found))] == payloads


FIRST, SECOND, THIRD = signed_frames([b"one", b"two", b"three"])
OTHER_ORDER = frame(chunk_signature(signature_of(SEED, NOW, b"one")) + date(NOW), b"one")
LATE = signed_frames([b"one"], at=NOW + CLOCK_SKEW + 1)
EARLY = signed_frames([b"one"], at=NOW - CLOCK_SKEW - 1)
SIGNED = date(NOW) + chunk_signature(signature_of(SEED, NOW, b"one"))
TOO_LONG = frame(SIGNED, bytes(FRAME_LIMIT))
REFUSED = {
    "of another secret": signed_frames([b"one"], secret="another"),
    "after another head": signed_frames([b"one"], seed=REAL_SEED),
    "for another region": signed_frames([b"one"], region="eu-west-1"),
    "sent twice": [FIRST, FIRST],
    "sent twice, later": [FIRST, SECOND, THIRD, SECOND],
    "in another order": [SECOND, FIRST],
    "without the first": [SECOND, THIRD],
    "without one between": [FIRST, THIRD],
    "with a payload of its own": [frame(SIGNED, b"two")],
    "at another time": [frame(date(NOW + 1) + SIGNED[15:], b"one")],
    "with half a second more": [frame(date(NOW + 0.5) + SIGNED[15:], b"one")],
    "of the future": LATE,
    "of the past": EARLY,
    "at the end of time": [frame(b"\x05:date\x08" + struct.pack(">q", 2**63 - 1) + SIGNED[15:], b"one")],
    "without a signature": [frame(date(NOW), b"one")],
    "without a date": [frame(SIGNED[15:], b"one")],
    "without headers": [frame(b"", b"one")],
    "with another header": [frame(SIGNED + b"\x02:x\x07\x00\x01y", b"one")],
    "with a short signature": [frame(date(NOW) + chunk_signature(b"\0" * 31) + b"\x01a\x00", b"one")],
    "with two dates": [frame(date(NOW) * 2 + SIGNED[30:], b"one")],
    "with a wrong checksum": [FIRST[:-1] + bytes([FIRST[-1] ^ 1])],
    "with a wrong checksum of its lengths": [FIRST[:8] + b"\0\0\0\0" + FIRST[12:]],
    "that is shorter than its headers": [struct.pack(">III", 20, 67, 0x11111111)],
    "that is too long": [TOO_LONG],
    "cut off": [FIRST, SECOND[:-1]],
    "of half a head": [FIRST[:5]],
    "in plain text": [b'{"event": {"sessionStart": {}}}'],
}


@pytest.mark.parametrize("frames", REFUSED.values(), ids=REFUSED)
def test_an_event_that_does_not_verify_is_refused(frames):
    with pytest.raises(SignatureRefused):
        passed_on(frames)


def test_either_order_of_the_headers_is_read():
    assert passed_on([OTHER_ORDER]) == [b"one"]


def test_the_longest_frame_is_passed_on_and_the_reader_refuses_a_longer_one_at_its_head():
    longest = bytes(FRAME_LIMIT - len(frame(SIGNED, b"")))
    assert passed_on(signed_frames([longest])) == [longest]
    made = resigner()
    with pytest.raises(SignatureRefused, match="longer than 16777216 bytes"):
        list(made.feed(TOO_LONG[:12], NOW))
    assert made.held == 0


def test_no_more_than_the_unfinished_frame_is_held():
    made = resigner()
    for piece in (FIRST, SECOND[:40], SECOND[40:] + THIRD[:9]):
        list(made.feed(piece, NOW))
        assert made.held <= len(SECOND)
    assert made.held == 9


def test_signatures_of_a_client_that_is_identified_otherwise_are_replaced_unverified():
    frames = signed_frames([b"one", b"two"], secret="of a pair that nobody knows", at=NOW - 100_000)
    assert passed_on(frames, verifies=False) == [b"one", b"two"]
    with pytest.raises(SignatureRefused):
        passed_on([FIRST[:-1] + b"\0"], verifies=False)


def test_nothing_of_a_secret_or_payload_is_shown():
    made = resigner()
    list(made.feed(FIRST[:-1], NOW))
    assert SECRET not in repr(made) + repr(chain())
    with pytest.raises(SignatureRefused) as refused:
        passed_on([frame(SIGNED, b"canary")])
    assert "canary" not in str(refused.value)
