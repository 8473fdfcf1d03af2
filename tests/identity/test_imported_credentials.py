"""Imported secrets: which texts are accepted, how much entropy they are given, and how guessing is slowed down."""

import base64
import random

import pytest

from wirekey.core.identity.guess_limit import GuessLimit
from wirekey.core.identity.imported_credentials import (
    entropy_bits,
    imported_digest,
    problem_of_client_id,
    problem_of_secret,
    problem_of_token,
)
from wirekey.core.identity.throttle import FREE


def urlsafe(data: bytes) -> str:
    """Write bytes as `secrets.token_urlsafe` does."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def random_texts(form, size: int) -> list[str]:
    """Return 2000 random texts of `size` bytes, the same in each run.

    One in some 50,000 has so many sequences that it counts for too little. With other texts in each run, the tests
    would fail by chance.
    """
    chance = random.Random(size)
    return [form(chance.randbytes(size)) for _ in range(2000)]


WEAK = [
    "a" * 64,
    "ab" * 40,
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "0123456789012345678901234567890123456789",
    "correct-horse-battery-staple",
    "CorrectHorseBatteryStapleTwentyTwenty",
    "my-company-proxy-key-2026",
    "sk-proxy-12345678",
    "9f86d081884c7d65",
    "1234567890123456",
    "test-test-test-test-test-test-test-test-test",
]


def test_a_random_secret_has_128_bits_or_nearly():
    """A few characters of a random text form a sequence by chance. Each of them takes four bits."""
    bits = sorted(map(entropy_bits, random_texts(bytes.hex, 16)))
    assert bits[0] >= 92
    assert bits[len(bits) // 2] >= 116
    assert bits[-1] == 128


@pytest.mark.parametrize("form", [bytes.hex, urlsafe])
def test_a_long_random_secret_is_not_taken_for_weak(form):
    assert min(map(entropy_bits, random_texts(form, 32))) >= 128


@pytest.mark.parametrize("secret", WEAK, ids=range(len(WEAK)))
def test_a_chosen_secret_has_less_than_128_bits(secret):
    assert 0 <= entropy_bits(secret) < 128


def test_a_uuid_counts_its_digits_only():
    assert entropy_bits("7d0e5a51-b3c5-4e0e-8f6c-2f0b1f3a2d4e") <= 128


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "has 0 characters"),
        ("fifteen-charact", "has 15 characters. It needs at least 16"),
        ("x" * 1025, "more than 1024"),
        ("sixteen characters", "has a space"),
        ("sixteen-charact\u00e9r", "not ASCII"),
        ("sixteen-charact\r\n", "control character"),
        ("wk_" + "a" * 43, "begins with wk_"),
        ("wk_but-otherwise-mine", "begins with wk_"),
        ("eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl", "is a JWT"),
    ],
)
def test_a_text_that_cannot_be_a_token_is_refused_without_quoting_it(token, words):
    problem = problem_of_token(token)
    assert words in problem
    assert not token or token not in problem


@pytest.mark.parametrize("token", ["sixteen-characte", "sk-proj-abcdefghijkl", "a:b/c+d=e,f;g'h\"i!", "x" * 1024])
def test_any_other_text_can_be_a_token(token):
    assert problem_of_token(token) is None
    assert problem_of_secret(token) is None


def test_client_ids_are_visible_ascii_and_not_wirekeys_own():
    assert problem_of_client_id("7d0e5a51-b3c5-4e0e-8f6c-2f0b1f3a2d4e") is None
    assert problem_of_client_id("billing") is None
    assert "begins with wkc_" in problem_of_client_id("wkc_" + "a" * 22)
    assert problem_of_client_id("two words")
    assert problem_of_client_id("x" * 129)


def test_the_hash_of_a_token_depends_on_the_state_folder():
    one, other = b"a" * 32, b"b" * 32
    assert imported_digest(one, "sixteen-characte") != imported_digest(other, "sixteen-characte")
    assert imported_digest(one, "sixteen-characte") == imported_digest(one, "sixteen-characte")
    assert imported_digest(one, "\ud800") != imported_digest(one, "")


class Connection:
    """Stands for a client connection."""


def test_an_address_waits_after_some_wrong_tokens():
    limit = GuessLimit()
    for number in range(FREE):
        assert limit.wait("there", 0.0) == 0
        limit.fail("there", bytes([number]), 0.0)
    assert limit.wait("there", 0.0) == 1
    assert limit.wait("elsewhere", 0.0) == 0
    limit.fail("there", b"more", 1.0)
    assert limit.wait("there", 1.0) == 2


def test_the_same_wrong_token_again_is_not_a_guess():
    limit = GuessLimit()
    for _ in range(100):
        limit.fail("there", b"placeholder", 0.0)
    assert limit.wait("there", 0.0) == 0


def test_a_connection_that_presented_a_right_token_is_remembered():
    limit, one, other = GuessLimit(), Connection(), Connection()
    limit.accept(one, b"right")
    assert limit.was_accepted(one, b"right")
    assert not limit.was_accepted(one, b"another")
    assert not limit.was_accepted(other, b"right")
