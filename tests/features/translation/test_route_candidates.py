"""The candidates of a call whose route leads to another format."""

import pytest

from tests.routing.test_routes import CHAT, GENERATE, MESSAGES, candidates, routes, shown
from wirekey.core.errors import Refusal


def test_a_fallback_may_have_another_format(tmp_path):
    found = routes(tmp_path, "routes: [{match: '*', fallback: ['gemini:gemini-2.5-flash']}]")
    assert shown(candidates(found, MESSAGES, "claude")) == [
        ("routes[0]", None, "anthropic", None, "provider", None),
        ("routes[0]", "gemini:gemini-2.5-flash", "gemini", None, "provider", "gemini/1"),
    ]


@pytest.mark.parametrize(("provider", "call"), [("anthropic", CHAT), ("openai", GENERATE), ("gemini", MESSAGES)])
def test_a_route_to_a_provider_of_another_format_is_refused_without_translation(tmp_path, provider, call):
    found = routes(tmp_path, f"translation: {{enabled: false}}\nroutes: [{{match: m, provider: {provider}}}]")
    with pytest.raises(Refusal, match=r"routes\[0\] sends this model to") as refused:
        candidates(found, call, "m")
    assert (refused.value.status, refused.value.code) == (400, "format_not_offered")


@pytest.mark.parametrize(
    ("provider", "call", "format"),
    [
        ("anthropic", CHAT, "anthropic"),
        ("gemini", CHAT, None),
        ("openai", GENERATE, "openai.responses"),
        ("gemini", MESSAGES, "gemini"),
        ("bedrock", MESSAGES, "converse"),
        ("anthropic", MESSAGES, None),
    ],
)
def test_a_route_to_a_provider_of_another_format_translates_to_its_format(tmp_path, provider, call, format):  # noqa: A002
    (found,) = candidates(routes(tmp_path, f"routes: [{{match: m, provider: {provider}}}]"), call, "m")
    assert (found.provider, found.speaks) == (provider, format)


def test_an_upstream_of_ones_own_gets_the_format_that_it_speaks(tmp_path):
    text = "routes: [{match: m, upstream_url: 'https://a.example', auth: none, speaks: openai.chat}]"
    (own,) = candidates(routes(tmp_path, text), CHAT, "m")
    (translated,) = candidates(routes(tmp_path, text), MESSAGES, "m")
    assert (own.provider, own.speaks) == ("openai", None)
    assert (translated.provider, translated.speaks) == ("openai", "openai.chat")
