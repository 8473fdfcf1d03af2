"""The setting `providers.custom`, and the hosts and routes that it adds."""

from __future__ import annotations

import pytest

from wirekey.config import ConfigError, load, provider_hosts
from wirekey.core.errors import UserError
from wirekey.core.routing.configured import use_configured_providers
from wirekey.providers.registry import PROVIDERS

GOOD = "{name: azure, hosts: [corp.openai.azure.com], path: /openai, deployments: true, auth: api-key, keys: [env:KEY]}"


def loaded(tmp_path, custom, more=""):
    file = tmp_path / "wirekey.yaml"
    file.write_text(f"providers: {{custom: [{custom}]}}\n{more}")
    return load(file, {"KEY": "a-key-for-azure"})


def problem(tmp_path, custom, more=""):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, custom, more)
    (found,) = caught.value.problems
    return found.key, found.message


def test_a_custom_provider_has_hosts_keys_and_a_name_for_routes(tmp_path):
    config = loaded(tmp_path, GOOD, "routes: [{match: 'gpt-*', provider: azure}]\ndefault_backend: azure\n")
    assert provider_hosts(config)["corp.openai.azure.com"] == "azure"
    assert config.providers.names[-1] == "azure"
    ((label, key),) = config.resolve_keys("azure")
    assert (label, key.reveal()) == ("azure/1", "a-key-for-azure")
    assert config.routes[0].named_provider == "azure"


def test_a_missing_key_is_reported_at_its_setting(tmp_path):
    config = loaded(tmp_path, GOOD.replace("env:KEY", "env:NOT_SET"))
    with pytest.raises(ConfigError, match=r"providers\.custom\[0\]\.keys\[0\]"):
        config.resolve_keys("azure")


WRONG = {
    "a name of Wirekey's": (GOOD.replace("azure,", "openai,"), "name", "is a name that Wirekey uses itself"),
    "a name of the gateway's": (GOOD.replace("azure,", "auth,"), "name", "is a name that Wirekey uses itself"),
    "a name with capitals": (GOOD.replace("azure,", "Azure,"), "name", "lower-case letters"),
    "a URL": (GOOD.replace("[corp.", "['https://corp.").replace(".com]", ".com']"), "hosts[0]", "without https://"),
    "an address": (GOOD.replace("corp.openai.azure.com", "10.1.2.3"), "hosts[0]", "must be a host name"),
    "a provider's host": (GOOD.replace("corp.openai.azure.com", "api.openai.com"), "hosts[0]", "host of a provider"),
    "a host of Bedrock": (
        GOOD.replace("corp.openai.azure.com", "bedrock-runtime.eu-west-1.amazonaws.com"),
        "hosts[0]",
        "host of a provider",
    ),
    "no hosts": (GOOD.replace("[corp.openai.azure.com]", "[]"), "hosts", "is empty"),
    "an unknown format": (GOOD.replace("auth: api-key", "speaks: cohere"), "speaks", "must be openai.chat"),
    "an unknown auth": (GOOD.replace("auth: api-key", "auth: basic"), "auth", "must be one of bearer"),
    "a path with the version": (GOOD.replace("path: /openai", "path: /openai/v1"), "path", "ends with the version"),
    "a path with a slash at the end": (GOOD.replace("path: /openai", "path: /openai/"), "path", "begins with /"),
    "deployments of Claude": (GOOD.replace("auth: api-key", "speaks: anthropic"), "", "deployments needs speaks"),
    "keys that are not used": (GOOD.replace("auth: api-key", "auth: none"), "", "keys are never used"),
    "keys of the operator and the clients": (
        GOOD.replace("auth: api-key", "key_source: passthrough"),
        "",
        "keys are never used",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_setting_is_refused_with_its_place(tmp_path, what):
    custom, setting, words = WRONG[what]
    key, message = problem(tmp_path, custom)
    assert key == f"providers.custom[0].{setting}".rstrip(".")
    assert words in message


@pytest.mark.parametrize("same", ["name", "host"])
def test_two_custom_providers_differ_in_name_and_hosts(tmp_path, same):
    other = GOOD.replace("azure,", "azure-eu,") if same == "host" else GOOD.replace("corp.", "eu.")
    key, message = problem(tmp_path, f"{GOOD}, {other}")
    assert key == "providers.custom"
    assert "custom[0] and custom[1] both have" in message


@pytest.mark.parametrize(
    "more",
    ["routes: [{match: 'gpt-*', provider: azur}]\n", "default_backend: azur\n"],
    ids=["route", "default_backend"],
)
def test_an_unknown_provider_is_refused_with_the_known_ones(tmp_path, more):
    _, message = problem(tmp_path, GOOD, more)
    assert message.startswith("is not a provider. The providers are: openai, ")
    assert message.endswith("azure")


def test_an_unknown_price_list_is_refused_with_a_similar_one(tmp_path, monkeypatch):
    monkeypatch.setattr("wirekey.providers.registry.PROVIDERS", dict(PROVIDERS))
    config = loaded(tmp_path, GOOD.replace("auth: api-key", "prices: openroutr"))
    with pytest.raises(UserError, match=r"^providers\.custom: .* openroutr\. Did you mean openrouter\?"):
        use_configured_providers(config)
