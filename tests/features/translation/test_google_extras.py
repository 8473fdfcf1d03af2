"""Gemini's own settings in a request of Chat Completions: carried to Gemini; elsewhere refused, or named as dropped."""

import itertools
import json

import pytest

from tests.features.translation.cases import MODELS, PLAIN, STATES
from wirekey.core.errors import Refusal
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.requests import translate_request

SAFETY = [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_LOW_AND_ABOVE"}]
ELSEWHERE = ("openai.responses", "anthropic", "invoke", "converse")
PLACES = {
    "in extra_body": lambda name, value: {"extra_body": {f"gemini_{name}": value}},
    "in the request itself": lambda name, value: {f"gemini_{name}": value},
    "in extra_body.google": lambda name, value: {"extra_body": {"google": {name: value}}},
    "in google": lambda name, value: {"google": {name: value}},
}


def translated(upstream, more):
    body = json.dumps({**PLAIN["openai.chat"], **more}).encode()
    return translate_request(FORMATS["openai.chat"], FORMATS[upstream], MODELS[upstream], body, STATES)


@pytest.mark.parametrize("place", PLACES)
def test_gemini_gets_its_settings(place):
    assert json.loads(translated("gemini", PLACES[place]("safety_settings", SAFETY)).body)["safetySettings"] == SAFETY
    cached = translated("gemini", PLACES[place]("cached_content", "cachedContents/1"))
    assert json.loads(cached.body)["cachedContent"] == "cachedContents/1"
    assert not cached.context.losses.headers()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("upstream", ELSEWHERE)
def test_elsewhere_safety_settings_are_named_and_a_cache_is_refused(upstream, place):
    dropped = translated(upstream, PLACES[place]("safety_settings", SAFETY)).context.losses.headers()
    assert "safety_settings" in dropped["x-wirekey-dropped"]
    with pytest.raises(Refusal, match="cached_content"):
        translated(upstream, PLACES[place]("cached_content", "cachedContents/1"))


UNKNOWN = [
    {"extra_body": {"canary": 1}},
    {"extra_body": {"google": {"canary": 1}}},
    {"extra_body": {"google": {"thinking_config": {"include_thoughts": True, "canary": 1}}}},
    {"google": {"canary": 1}},
    {"extra_body": {"google": {"thinking_config": {}}}, "google": {"canary": 1}},
]


@pytest.mark.parametrize(("upstream", "more"), itertools.product([*ELSEWHERE, "gemini"], UNKNOWN))
def test_a_setting_that_nobody_knows_is_refused(upstream, more):
    with pytest.raises(Refusal, match="Wirekey does not know") as refused:
        translated(upstream, more)
    assert "canary" not in refused.value.message


def test_how_much_to_reason_is_read_beside_other_settings():
    google = {"thinking_config": {"thinking_budget": 9}, "safety_settings": SAFETY}
    body = json.loads(translated("gemini", {"extra_body": {"google": google}}).body)
    assert body["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 9
    assert body["safetySettings"] == SAFETY
