from dataclasses import replace

import pytest

from tests.features.aws_signatures.verifying import verify
from tests.support.signed_requests import HEADERS, NOW, presigned, signed
from wirekey.core.signing.refusal import SignatureRefused
from wirekey.features.aws_signatures.replay import FORGOTTEN, REPLAYED, ReplayWindow

SDK = verify(signed())
PLAIN = verify(signed(headers={"Content-Type": HEADERS["Content-Type"]}))


def at(seconds, number=0):
    return verify(signed(headers={"X-Amz-Target": str(number)}, at=NOW + seconds), now=NOW + seconds)


@pytest.fixture
def window():
    return ReplayWindow()


def refused(window, verified, sender="10.0.0.1", now=NOW):
    with pytest.raises(SignatureRefused) as found:
        window.admit(verified, sender, now)
    assert found.value.code == "InvalidSignatureException"
    return found.value.message


@pytest.mark.parametrize("later", [0, 0.5, 5.1, 299])
def test_the_signature_of_an_sdk_is_good_once(window, later):
    window.admit(SDK, "10.0.0.1", NOW)
    assert refused(window, SDK, now=NOW + later) == REPLAYED


@pytest.mark.parametrize(
    ("later", "sender", "admitted"),
    [(0, "10.0.0.1", True), (5.0, "10.0.0.1", True), (5.1, "10.0.0.1", False), (0, "10.0.0.2", False)],
)
def test_equal_calls_of_a_plain_signer_at_one_time_are_admitted_from_one_sender(window, later, sender, admitted):
    window.admit(PLAIN, "10.0.0.1", NOW)
    if admitted:
        window.admit(PLAIN, sender, NOW + later)
    else:
        assert refused(window, PLAIN, sender, NOW + later) == REPLAYED


def test_equal_calls_do_not_lengthen_the_time_in_which_they_are_admitted(window):
    for later in (0, 4.5):
        window.admit(PLAIN, "10.0.0.1", NOW + later)
    assert refused(window, PLAIN, now=NOW + 6)


@pytest.mark.parametrize("verified", [SDK, PLAIN])
def test_a_call_that_a_client_retries_releases_its_signature_once(window, verified):
    window.admit(verified, "10.0.0.1", NOW)
    window.release(verified)
    window.admit(verified, "10.0.0.2", NOW + 5)
    assert refused(window, verified, now=NOW + 6)


def test_releasing_an_unknown_signature_does_nothing(window):
    window.release(SDK)
    window.admit(SDK, "10.0.0.1", NOW)
    assert refused(window, SDK)


def test_a_presigned_query_is_good_once_in_all_its_time(window):
    verified = verify(presigned(expires=3600), b"")
    window.admit(verified, "10.0.0.1", NOW)
    for seconds in range(0, 3500, 100):
        window.admit(at(seconds), "10.0.0.1", NOW + seconds)
    assert refused(window, verified, now=NOW + 3599) == REPLAYED


def test_expired_signatures_are_not_kept(window):
    for seconds in range(0, 3000, 10):
        window.admit(at(seconds), "10.0.0.1", NOW + seconds)
        assert len(window) <= 31


def test_a_full_window_takes_new_signatures_and_refuses_all_as_old_as_those_forgotten():
    window = ReplayWindow(capacity=3)
    old, later = at(0, 1), at(1, 2)
    for verified in (old, at(0, 2), later, at(2)):
        window.admit(verified, "10.0.0.1", NOW + 2)
    assert len(window) == 3
    assert refused(window, old, now=NOW + 30) in (FORGOTTEN, REPLAYED)
    assert refused(window, at(0, 3)) == FORGOTTEN
    assert refused(window, later, now=NOW + 30) == REPLAYED
    window.admit(at(3), "10.0.0.1", NOW + 3)


@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_no_signature_is_admitted_twice_however_small_the_window(capacity):
    window, admitted = ReplayWindow(capacity), set()
    calls = [at(seconds, number) for seconds in range(6) for number in range(3)]
    for number, verified in enumerate([*calls, *reversed(calls), *calls]):
        try:
            window.admit(verified, f"10.0.0.{number}", NOW + 10)
        except SignatureRefused:
            continue
        assert verified.signature not in admitted
        admitted.add(verified.signature)
    assert admitted
    assert len(window) <= capacity


def test_one_access_key_does_not_push_out_the_signatures_of_another():
    window = ReplayWindow(capacity=2)
    other = replace(SDK, access_key="WKEYOTHER")
    window.admit(other, "10.0.0.1", NOW)
    for number in range(5):
        window.admit(at(number), "10.0.0.1", NOW + number)
    assert refused(window, other, now=NOW + 5) == REPLAYED


def test_access_keys_whose_signatures_have_expired_are_forgotten(window):
    window.admit(SDK, "10.0.0.1", NOW)
    window.admit(replace(SDK, access_key="WKEYOTHER", good_until=NOW + 1000), "10.0.0.1", NOW + 301)
    assert list(window._uses) == ["WKEYOTHER"]
