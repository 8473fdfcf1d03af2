"""A quick check of several texts at once never misses a token that a check of each would find."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wirekey.credentials.agent_tokens import may_hold_token, may_hold_tokens

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
