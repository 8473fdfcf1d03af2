"""A refusal passes through Python's own error handling like any other exception."""

import contextlib
import traceback

import pytest

from wirekey.core.errors import Refusal
from wirekey.core.tracebacks import forget_frames

REFUSAL = Refusal(429, "too_many", "Try again later.", retry_after=2)
"""Raised several times, as many refusals are constants."""


@contextlib.contextmanager
def prepared():
    yield


@contextlib.asynccontextmanager
async def prepared_async():
    yield


class Prepared(contextlib.ContextDecorator, contextlib.ExitStack):
    """A context manager of the standard library that raises again what it was left with."""


@pytest.mark.parametrize("manager", [prepared, Prepared])
def test_a_refusal_leaves_a_context_manager_as_it_was_raised(manager):
    for _ in range(2):
        with pytest.raises(Refusal) as raised, manager():
            raise REFUSAL
        assert raised.value is REFUSAL
        assert (raised.value.status, raised.value.code, raised.value.retry_after) == (429, "too_many", 2)


async def test_a_refusal_leaves_an_asynchronous_context_manager_as_it_was_raised():
    with pytest.raises(Refusal) as raised:
        async with prepared_async():
            raise REFUSAL
    assert raised.value is REFUSAL


def test_a_refusal_can_have_a_note_and_no_frames():
    refusal = Refusal(400, "malformed_body", "It is empty.")
    with pytest.raises(Refusal), prepared():
        raise refusal
    refusal.add_note("while reading it")
    assert "while reading it" in "".join(traceback.format_exception(refusal))
    forget_frames(refusal)
    assert refusal.__traceback__ is None


def test_two_refusals_with_the_same_text_are_two_exceptions():
    twice = {Refusal(400, "malformed_body", "It is empty."), Refusal(400, "malformed_body", "It is empty.")}
    assert len(twice) == 2
