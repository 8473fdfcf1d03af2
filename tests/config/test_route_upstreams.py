"""Upstreams of routes: URLs with a path, plain HTTP, and what is refused."""

import pytest

from tests.support.configuration import loaded, problems
from wirekey.config import route_warnings

PLAIN = "routes: [{match: 'a*', auth: none, upstream_url: '%s'}]"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://llm.corp.example", ("llm.corp.example", 443, "", True)),
        ("https://llm.corp.example/", ("llm.corp.example", 443, "", True)),
        ("https://llm.corp.example/api", ("llm.corp.example", 443, "/api", True)),
        ("https://llm.corp.example:8443/a/b-1.0/", ("llm.corp.example", 8443, "/a/b-1.0", True)),
        ("http://127.0.0.1:11434", ("127.0.0.1", 11434, "", False)),
        ("http://localhost", ("localhost", 80, "", False)),
        ("http://[::1]:8001/api", ("::1", 8001, "/api", False)),
    ],
)
def test_the_upstream_of_a_route(tmp_path, url, wanted):
    upstream = loaded(tmp_path, PLAIN % url).routes[0].upstream_url
    assert (upstream.host, upstream.port, upstream.path, upstream.tls) == wanted
    assert str(upstream) == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://10.0.0.5:8000", "insecure_upstream: true"),
        ("http://llm.corp.example", "insecure_upstream: true"),
        ("http://127.0.0.1.evil.example", "insecure_upstream: true"),
        ("https://llm.corp.example/v1", "ends with v1"),
        ("https://llm.corp.example/api/v1beta/", "ends with v1beta"),
        ("https://llm.corp.example/a/../b", "The query comes from the call"),
        ("https://llm.corp.example/a%2Fb", "The query comes from the call"),
        ("https://llm.corp.example//a", "The query comes from the call"),
        ("https://llm.corp.example/a?x=1", "The query comes from the call"),
        ("http://user:secret@127.0.0.1", "must not contain a user name"),
        ("ftp://127.0.0.1", "must be an https:// URL"),
    ],
)
def test_an_upstream_that_is_refused(tmp_path, url, message):
    (found,) = problems(tmp_path, PLAIN % url)
    assert message in found.message


def test_another_machine_needs_a_word_of_its_own(tmp_path):
    text = "routes: [{match: a, auth: none, upstream_url: 'http://10.0.0.5', insecure_upstream: true}]"
    assert loaded(tmp_path, text).routes[0].insecure_upstream
    (found,) = problems(tmp_path, text.replace("http:", "https:"))
    assert "insecure_upstream needs an upstream_url with http://" in found.message


@pytest.mark.parametrize("auth", ["client", "sigv4"])
def test_C8_a_credential_of_a_provider_is_never_sent_without_tls(tmp_path, auth):
    found = problems(tmp_path, f"routes: [{{match: a, auth: {auth}, upstream_url: 'http://127.0.0.1'}}]")
    assert any("never without TLS" in problem.message for problem in found)


@pytest.mark.parametrize("key", ["env:OPENAI_API_KEY", "env:MINE", "env:ANTHROPIC_API_KEY"])
def test_C8_a_key_of_a_provider_is_refused_for_a_plain_upstream(tmp_path, key):
    text = f"""
providers: {{gemini: {{keys: [env:MINE]}}}}
routes: [{{match: a, auth: bearer, keys: [env:OWN, {key}], upstream_url: 'http://127.0.0.1'}}]
"""
    (found,) = problems(tmp_path, text)
    assert found.key == "routes[0].keys[1]"
    assert "never sent without TLS" in found.message


def test_the_own_host_of_a_provider_is_called_over_tls_only(tmp_path):
    (found,) = problems(tmp_path, "providers: {openai: {upstream_url: 'http://127.0.0.1'}}")
    assert "keys are only sent over TLS" in found.message


@pytest.mark.parametrize(
    ("conditions", "key", "message"),
    [("format: openai.chatt", "format", "openai.chat"), ("called_provider: opena", "called_provider", "anthropic")],
)
def test_a_condition_that_can_never_hold_is_reported(tmp_path, conditions, key, message):
    (found,) = problems(tmp_path, f"routes: [{{{conditions}, model: m}}]")
    assert found.key == f"routes[0].{key}"
    assert message in found.message


@pytest.mark.parametrize(
    ("first", "second", "shadowed"),
    [
        ("{match: 'gpt-*'}", "{match: gpt-4o, role: intern}", True),
        ("{match: 'gpt-*', role: intern}", "{match: gpt-4o}", False),
        ("{match: 'gpt-*', role: intern}", "{match: gpt-4o, role: intern, agent: bob}", True),
        ("{match: 'gpt-*', role: intern}", "{match: gpt-4o, role: admin}", False),
    ],
)
def test_a_route_with_conditions_hides_only_those_with_the_same(tmp_path, first, second, shadowed):
    config = loaded(tmp_path, f"routes: [{first}, {second}]")
    assert any("can never match" in warning.message for warning in route_warnings(config)) is shadowed


def test_a_condition_is_one_pattern_or_a_list(tmp_path):
    config = loaded(tmp_path, "routes: [{format: openai.chat, agent: [alice, 'b*']}]")
    assert (config.routes[0].match, config.routes[0].format, config.routes[0].agent) == (
        "*",
        ("openai.chat",),
        ("alice", "b*"),
    )
