"""The proxy on the way out: its settings, and the variables of the environment."""

import pytest

from tests.support.configuration import loaded, problems
from wirekey.config import environment_proxy
from wirekey.config.effective import effective_settings
from wirekey.core.calls.settings import build

URL = "http://user@proxy.corp.example:3128"


def test_a_single_url_stands_for_the_group(tmp_path):
    config = loaded(tmp_path, f"upstream_proxy: {URL}\n")
    assert str(config.upstream_proxy.url) == URL
    assert build(config).proxies.proxy_for("api.openai.com", 443).user == "user"


def test_the_password_is_a_reference(tmp_path):
    text = f"upstream_proxy: {{url: '{URL}', password: env:PROXY_PASSWORD, no_proxy: [corp.example]}}"
    config = loaded(tmp_path, text, {"PROXY_PASSWORD": "p-4f1c"})
    proxy = build(config).proxies.proxy_for("api.openai.com", 443)
    assert proxy.password.reveal() == "p-4f1c"
    assert build(config).proxies.proxy_for("llm.corp.example", 443) is None
    assert "p-4f1c" not in str(effective_settings(config))


def test_a_provider_may_have_a_proxy_of_its_own(tmp_path):
    text = f"""
upstream_proxy: {URL}
providers:
  gemini: {{upstream_proxy: "http://other.corp.example:8080"}}
  openai: {{upstream_proxy: "http://third.corp.example:8080", upstream_url: "https://llm.corp.example"}}
"""
    settings = build(loaded(tmp_path, text))
    hosts = ("generativelanguage.googleapis.com", "api.anthropic.com", "llm.corp.example", "github.com")
    found = [settings.proxies.proxy_for(host, 443).host for host in hosts]
    assert found == ["other.corp.example", "proxy.corp.example", "third.corp.example", "proxy.corp.example"]


def test_a_variable_sets_it_too(tmp_path):
    assert str(loaded(tmp_path, "", {"WIREKEY_UPSTREAM_PROXY": URL}).upstream_proxy.url) == URL


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("'http://user:p-4f1c@proxy:3128'", "contains a password"),
        ("https://proxy:3128", "must be http://HOST:PORT"),
        ("http://proxy", "must be http://HOST:PORT"),
        ("http://proxy:3128/path", "must be http://HOST:PORT"),
        ("5", "group of settings"),
        ("{}", "is missing"),
    ],
)
def test_another_value_is_refused_without_showing_it(tmp_path, value, words):
    (found,) = problems(tmp_path, f"upstream_proxy: {value}\n")
    assert words in found.message
    assert "p-4f1c" not in str(found)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_the_environment_names_a_proxy(tmp_path, variable):
    environ = {variable: "http://user:p-4f1c@proxy.corp.example:3128", "NO_PROXY": "corp.example, 10.0.0.0/8"}
    config = loaded(tmp_path, "", environ)
    found = environment_proxy(config, config.environ)
    assert (found.variable, found.proxy.host, found.proxy.password.reveal()) == (
        variable,
        "proxy.corp.example",
        "p-4f1c",
    )
    assert build(config).proxies.proxy_for("api.openai.com", 443) == found.proxy
    assert build(config).proxies.proxy_for("x.corp.example", 443) is None
    assert "p-4f1c" not in repr(found)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://alice:wk_abcdef@127.0.0.1:9999", "Wirekey's own"),
        ("http://127.0.0.1:8080", "Wirekey's own"),
        ("http://localhost:8000", "Wirekey's own"),
        ("socks5://proxy:1080", "it is not http://"),
    ],
)
def test_a_wirekey_inside_exec_does_not_call_itself(tmp_path, url, why):
    config = loaded(tmp_path, "", {"HTTPS_PROXY": url})
    found = environment_proxy(config, config.environ)
    assert found.proxy is None
    assert why in found.ignored
    assert build(config).proxies.proxy_for("api.openai.com", 443) is None


def test_the_setting_takes_precedence_over_the_environment(tmp_path):
    config = loaded(tmp_path, f"upstream_proxy: {URL}\n", {"HTTPS_PROXY": "http://other:1"})
    assert build(config).proxies.usual.host == "proxy.corp.example"
