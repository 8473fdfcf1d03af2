"""Quick checks never miss a token: of several texts at once, and of paths that recur."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.credentials.agent_tokens import (
    PAIR_SECRET_LENGTH,
    check_path,
    may_hold_token,
    may_hold_tokens,
    text_without_tokens,
    without_tokens,
)
from wirekey.core.pair_secrets import pair_secrets

TEXTS = st.one_of(
    st.binary(max_size=60),
    st.builds(bytes.__add__, st.binary(max_size=8), st.sampled_from([b"wk_", b"wk", b"_", b"%", b"\\", b"k_"])),
)


@given(st.lists(TEXTS))
def test_several_texts_may_hold_a_token_if_one_of_them_may(texts):
    if any(map(may_hold_token, texts)):
        assert may_hold_tokens(texts)


def test_texts_that_each_hold_no_token_are_not_searched():
    assert not may_hold_tokens([])
    assert not may_hold_tokens([b"", b"wk", b"_", b"x" * 39])
    assert may_hold_tokens([b"x" * 40])


def test_a_path_without_tokens_is_searched_once_and_one_with_a_token_is_not_kept():
    check_path.cache_clear()
    clean, token = b"/model/us.amazon.nova-pro-v1%3A0/converse", b"/model/wk_" + b"a" * 32 + b"%3A0/converse"
    for _ in range(3):
        assert without_tokens(clean) is clean
        assert b"wk_" not in without_tokens(token)
    assert check_path.cache_info().currsize == 1


def test_a_pair_secret_is_found_in_a_path_that_was_clean_before_the_pair_was_known():
    secret = b"k" * PAIR_SECRET_LENGTH
    path, known = b"/model/" + secret, pair_secrets.known
    assert without_tokens(path) is path
    pair_secrets.use([*known, secret])
    try:
        assert secret not in without_tokens(path)
    finally:
        pair_secrets.use(known)


TOKEN = b"wk_" + b"aB3" * 14 + b"z"


@pytest.mark.parametrize("text", ["wk_12345678", "key=wk_abcdefgh1", "a wk_abcdefgh", "%77k_abcdefgh"])
def test_the_beginning_of_a_token_is_masked_in_short_texts_too(text):
    assert "abcdefgh" not in text_without_tokens(text)
    assert "12345678" not in text_without_tokens(text)


@pytest.mark.parametrize("text", ["", "wk_", "wk_1234567", "a week", "100%", "gpt-4o", "a\\b", "x" * 40])
def test_a_text_without_a_token_stays_the_same_object(text):
    assert text_without_tokens(text) is text


@pytest.mark.parametrize("before", [b"", b"a", b"al"])
def test_a_token_in_base64_or_escapes_is_masked_at_each_alignment(before):
    encoded = base64.b64encode(before + b":" + TOKEN)
    assert encoded not in without_tokens(b"x=" + encoded + b" y")
    assert without_tokens(b"x=" + base64.b64encode(b"no token " * 9) + b" y").startswith(b"x=bm8")
    escaped = b"".join(b"%%%02x" % byte for byte in TOKEN)
    assert escaped not in without_tokens(before + escaped)


@pytest.mark.parametrize("before", [b"", b"a", b"al"])
def test_base64_of_the_beginning_of_a_token_is_sent_as_it_is(before):
    data = b"x=" + base64.b64encode(before + b"wk_ is how a token begins, and nothing follows") + b" y"
    assert without_tokens(data) == data


def test_data_that_is_too_short_for_a_token_stays_the_same_object():
    data = b"/v1/models"
    assert without_tokens(data) is data


def test_only_the_secret_of_a_pair_is_masked_in_a_longer_run():
    secret, known = b"kL9" * 13 + b"m", pair_secrets.known
    pair_secrets.use([*known, secret])
    try:
        assert without_tokens(b"before" + secret + b"after") == b"before" + b"*" * PAIR_SECRET_LENGTH + b"after"
    finally:
        pair_secrets.use(known)
