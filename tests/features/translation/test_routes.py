"""Which routes of a configuration translate, and what they lose: for `config check` and features."""

from __future__ import annotations

import pytest

from wirekey.config.feature_settings import whole_config
from wirekey.features.translation.routes import translated_routes

LOCAL = "http://127.0.0.1:11434"


def found(*routes, **settings):
    return list(translated_routes(whole_config().model_validate({"routes": list(routes), **settings})))


@pytest.mark.parametrize(
    ("route", "formats"),
    [
        ({"match": "*"}, {}),
        ({"match": "a", "model": "gpt-4o"}, {}),
        ({"match": "a", "upstream_url": LOCAL, "auth": "none"}, {}),
        (
            {"match": "a", "provider": "anthropic"},
            dict.fromkeys(["openai.chat", "openai.responses", "gemini", "converse"], "anthropic"),
        ),
        ({"match": "a", "provider": "gemini"}, dict.fromkeys(["openai.responses", "anthropic", "converse"], "gemini")),
        (
            {"match": "a", "provider": "gemini", "speaks": "gemini"},
            dict.fromkeys(["openai.chat", "openai.responses", "anthropic", "converse"], "gemini"),
        ),
        (
            {"match": "a", "provider": "bedrock", "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
            {**dict.fromkeys(["openai.chat", "openai.responses", "gemini"], "converse"), "anthropic": "invoke"},
        ),
        (
            {"match": "a", "upstream_url": LOCAL, "auth": "none", "speaks": "openai.chat"},
            dict.fromkeys(["openai.responses", "gemini", "anthropic", "converse"], "openai.chat"),
        ),
        ({"match": "a", "provider": "anthropic", "format": ["openai.chat"]}, {"openai.chat": "anthropic"}),
        ({"match": "a", "provider": "vertex"}, dict.fromkeys(["openai.responses", "anthropic", "converse"], "gemini")),
        (
            {"match": "claude-*", "provider": "vertex"},
            dict.fromkeys(["openai.chat", "openai.responses", "gemini", "converse"], "anthropic"),
        ),
        (
            {"match": "a", "provider": "vertex", "speaks": "gemini"},
            dict.fromkeys(["openai.chat", "openai.responses", "anthropic", "converse"], "gemini"),
        ),
    ],
)
def test_the_formats_that_a_route_translates(route, formats):
    assert {one.client: one.upstream for one in found(route)} == formats


def test_a_route_refuses_other_formats_if_translation_is_off():
    refused = found({"match": "a", "provider": "anthropic"}, translation={"enabled": False})
    assert {one.upstream for one in refused} == {None}


def test_the_options_that_are_lost_have_the_names_of_the_clients_format():
    (chat,) = [one for one in found({"match": "a", "provider": "anthropic"}) if one.client == "openai.chat"]
    assert {"seed", "user", "logit_bias"} <= set(chat.lost.dropped)
    assert {"n", "logprobs"} <= set(chat.lost.refused)


def test_the_model_decides_what_is_changed():
    route = {"match": "a", "provider": "openai", "model": "gpt-5"}
    (claude,) = [one for one in found(route) if one.client == "anthropic"]
    assert {"temperature", "top_p"} <= set(claude.lost.adjusted)
    assert "stop_sequences" in claude.lost.refused
