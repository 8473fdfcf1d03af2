"""A reply of the child is data and nothing else."""

import pickle
from pathlib import Path

import pytest

from wirekey.core.body_reading.messages import decode, encode
from wirekey.core.body_reading.reading import Reading
from wirekey.core.errors import Fault, Refusal
from wirekey.core.operation import Facts

FACTS = Facts(model="gpt-4o", stream=True, message_count=3, tools=("a", "é"), other_models=("b",), asks_usage=False)
READINGS = {
    "all": Reading(FACTS, 7, {"model": (1, 9), "é": (10, 12)}),
    "without facts": Reading(None, 0, None),
}


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_a_reading_arrives_as_it_was(reading):
    assert decode(encode(reading)) == reading


def test_a_refusal_arrives_as_it_was():
    refusal = Refusal(413, "too_many_values", "Too many.", Fault.CALLER, 5, "invalid_request_error", "messages[0]")
    arrived = decode(encode(refusal))
    assert isinstance(arrived, Refusal)
    assert vars(arrived) == vars(refusal)


def test_the_place_of_a_failure_arrives_as_text():
    assert decode(encode("KeyError at reading.py:80")) == "KeyError at reading.py:80"


class Exploit:
    def __reduce__(self):
        return Path.write_text, (Path("exploited"), "")


def test_a_pickled_object_is_no_reply(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError):
        decode(pickle.dumps(Exploit()))
    assert not Path("exploited").exists()


OTHERS = {
    "nothing": b"",
    "no MessagePack": b"\xc1",
    "a number": b"\x07",
    "cut": encode("text")[:-1],
    "followed by a byte": encode(READINGS["all"]) + b"\0",
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_other_bytes_are_no_reply(data):
    with pytest.raises(ValueError):
        decode(data)
