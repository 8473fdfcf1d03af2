"""A secret shows its value nowhere but to those who ask for it."""

from __future__ import annotations

import copy
import pickle

import pytest

from wirekey.core.secret import Secret

VALUE = "sk-a-secret-of-a-test"


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r:>40}".format, lambda secret: f"{secret:>5}", ascii])
def test_no_text_of_a_secret_has_its_value(show):
    assert VALUE not in show(Secret(VALUE))
    assert "Secret(…)" in show(Secret(VALUE)) or "Secret(\\u2026)" in show(Secret(VALUE))


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_copied(take):
    with pytest.raises(TypeError, match="cannot be pickled"):
        take(Secret(VALUE))


def test_secrets_are_compared_by_value_and_have_no_hash():
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret(VALUE + "x")
    assert Secret(VALUE) != VALUE
    assert Secret(VALUE).__eq__(VALUE) is NotImplemented
    with pytest.raises(TypeError):
        hash(Secret(VALUE))


@pytest.mark.parametrize("value", ["", "a\nb", "a\x00", "ä", "a\x7f"])
def test_a_value_that_no_header_can_have_is_refused_without_being_named(value):
    with pytest.raises(ValueError, match="the secret") as raised:
        Secret(value)
    assert not value or value not in str(raised.value)


def test_the_value_is_revealed_on_request():
    assert Secret(VALUE).reveal() == VALUE
