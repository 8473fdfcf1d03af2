"""Providers and parameters in the name of a model."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.model_name import ModelName, ModelNameError, is_plain
from wirekey.providers.registry import BACKENDS, OWN_PROVIDERS, PROVIDERS


@pytest.mark.parametrize(
    ("text", "provider", "name", "parameters"),
    [
        ("gpt-4o", None, "gpt-4o", {}),
        ("gemini:gemini-2.5-pro", "gemini", "gemini-2.5-pro", {}),
        ("gemini-2.5-pro?temperature=0.7", None, "gemini-2.5-pro", {"temperature": 0.7}),
        (
            "gemini:gemini-2.5-pro?temperature=1&topP=0.9&maxOutputTokens=100&seed=-3",
            "gemini",
            "gemini-2.5-pro",
            {"temperature": 1, "top_p": 0.9, "max_tokens": 100, "seed": -3},
        ),
        ("gpt-5?effort=high&max_completion_tokens=5", None, "gpt-5", {"reasoning_effort": "high", "max_tokens": 5}),
        ("gpt-5?temperature=0%2E5", None, "gpt-5", {"temperature": 0.5}),
        # Colons of other meaning.
        ("ft:gpt-4o:org::9abc", None, "ft:gpt-4o:org::9abc", {}),
        ("amazon.nova-lite-v1:0", None, "amazon.nova-lite-v1:0", {}),
        ("openai:ft:gpt-4o:org::9abc", "openai", "ft:gpt-4o:org::9abc", {}),
        ("gemini:", None, "gemini:", {}),
        ("a-gemini-cli-acp:m", None, "a-gemini-cli-acp:m", {}),
        ("gemini-2.5-pro:latest", None, "gemini-2.5-pro:latest", {}),
        # A vendor belongs to the name, but for Google's models at Gemini.
        ("meta-llama/llama-4", None, "meta-llama/llama-4", {}),
        ("google/gemini-2.5-pro", None, "google/gemini-2.5-pro", {}),
        ("openai:google/gemini-2.5-pro", "openai", "google/gemini-2.5-pro", {}),
        ("gemini:google/gemini-2.5-pro?verbosity=low", "gemini", "gemini-2.5-pro", {"verbosity": "low"}),
        ("gemini-cli-acp:google/gemini-3-flash?topK=3", "gemini-cli-acp", "gemini-3-flash", {"top_k": 3}),
        ("gemini-oauth-unknown:m", "gemini-oauth-unknown", "m", {}),
    ],
)
def test_a_name_is_read_into_its_parts(text, provider, name, parameters):
    found = ModelName.parse(text)
    assert (found.destination, found.name, dict(found.parameters)) == (provider, name, parameters)
    assert is_plain(text) is not bool(provider or parameters)
    assert ModelName.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("m?", "has a parameter ''; there are temperature, "),
        ("?temperature=1", "no name before them"),
        ("m?tools=x", "has a parameter 'tools'"),
        ("m?temperature=2.1", "must be a number from 0 to 2"),
        ("m?temperature=NaN", "must be a number"),
        ("m?temperature=1e0", "must be a number"),
        ("m?temperature=", "must be a number"),
        ("m?temperature", "must be a number"),
        ("m?temperature=٣", "must be a number"),
        ("m?top_k=0", "must be a whole number from 1"),
        ("m?seed=1.5", "must be a whole number"),
        ("m?reasoning_effort=a%22", "must be one of none, "),
        ("m?seed=1&seed=2", "has the parameter seed twice"),
        ("m?max_tokens=1&maxOutputTokens=2", "has the parameter max_tokens twice"),
    ],
)
def test_a_name_that_cannot_be_followed_is_refused(text, words):
    with pytest.raises(ModelNameError, match=re.escape(words)):
        ModelName.parse(text)


def test_the_name_of_every_provider_and_backend_can_stand_in_front():
    reached = [name for name in OWN_PROVIDERS if PROVIDERS[name].formats.speaks]
    assert [ModelName.parse(f"{name}:m").provider for name in reached] == reached
    assert [ModelName.parse(f"{name}:m").backend for name in BACKENDS] == list(BACKENDS)


@given(st.text(alphabet="abgeminclopt-:/?&=%2F.0", max_size=40))
def test_a_model_string_is_read_back_as_it_was_written(text):
    try:
        found = ModelName.parse(text)
    except ModelNameError:
        return
    assert ModelName.parse(str(found)) == found
    assert found.parameters or str(found) == text
    assert is_plain(text) == (text == found.name)
