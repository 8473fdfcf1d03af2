"""The words that set a behaviour."""

import pytest

from tests.simulator.requests import request
from wirekey_simulator.behaviour import PLAIN, Behaviour, behaviour_of_model, parse_behaviour
from wirekey_simulator.script import model_named


@pytest.mark.parametrize(
    ("texts", "behaviour"),
    [
        ([], PLAIN),
        (["", " , "], PLAIN),
        (["events=20, pace=0.01,unicode , gzip"], Behaviour(events=20, pace=0.01, unicode=True, gzip=True)),
        (["size=10MiB"], Behaviour(size=10 << 20)),
        (["size=1GB"], Behaviour(size=10**9)),
        (["fail=429, retry-after=0.5"], Behaviour(fail=429, retry_after=0.5)),
        (["reset-after=0"], Behaviour(reset_after=0)),
        (["events=1, gzip", "events=2"], Behaviour(events=2, gzip=True)),
        (["gzip", "gzip=false"], PLAIN),
    ],
)
def test_words_become_a_behaviour_and_later_texts_win(texts, behaviour):
    assert parse_behaviour(*texts) == behaviour


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("paces=1", "did you mean pace"),
        ("xyzzy", "known are: events"),
        ("events", "needs a number"),
        ("events=-1", "needs a number"),
        ("pace=nan", "needs a number"),
        ("size=10XiB", "needs a number"),
        ("crlf=maybe", "takes no value"),
        ("fail=200", "from 400 to 599"),
        ("fail=1000", "from 400 to 599"),
    ],
)
def test_a_wrong_word_is_explained(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_behaviour(text)


@pytest.mark.parametrize(
    ("model", "behaviour"),
    [
        ("gpt-4o-mini", ""),
        ("sim-fail-429", "fail=429"),
        ("sim-stall", "stall-after=1"),
        ("sim-stall-3", "stall-after=3"),
        ("sim-reset", "reset-after=1"),
        ("sim-error-2", "error-after=2"),
        ("sim-size-10MiB", "size=10MiB"),
        ("sim-gzip", "gzip"),
        ("anthropic.sim-fail-503", "fail=503"),
        ("sim-nothing-known", ""),
    ],
)
def test_a_model_can_be_named_for_its_behaviour(model, behaviour):
    assert behaviour_of_model(model) == behaviour


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/v1/chat/completions", b'{"messages":[],"model" : "sim-stall"}'),
        ("/v1beta/models/sim-stall:generateContent", b"{}"),
        ("/model/sim-stall/converse", b"{}"),
        ("/v1/audio/transcriptions", b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nsim-stall\r\n--x--'),
    ],
)
def test_the_model_is_found_in_path_and_body(target, body):
    assert behaviour_of_model(model_named(request("POST", target, body))) == "stall-after=1"
