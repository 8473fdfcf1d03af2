"""The setting `providers.code_assist`, and the hosts that it adds."""

from __future__ import annotations

import pytest

from wirekey.config import ConfigError, load, provider_hosts
from wirekey.core.calls.settings import build


def loaded(tmp_path, setting):
    file = tmp_path / "wirekey.yaml"
    file.write_text(f"providers: {{code_assist: {setting}}}\n")
    return load(file, {})


def hosts_of(config):
    return [host for host, name in provider_hosts(config).items() if name == "code_assist"]


def test_it_is_off_by_default(tmp_path):
    config = loaded(tmp_path, "null")
    assert "code_assist" not in config.providers.names
    assert hosts_of(config) == []


@pytest.mark.parametrize("setting", ["{}", "{key_source: passthrough}"])
def test_the_ca_may_sign_its_hosts_once_it_is_configured(tmp_path, setting):
    config = loaded(tmp_path, setting)
    assert hosts_of(config) == ["cloudcode-pa.googleapis.com", "oauth2.googleapis.com"]
    assert build(config).key_sources["code_assist"] == "passthrough"


@pytest.mark.parametrize("setting", ["{key_source: inject}", "{key_source: client}", "{keys: [env:X]}"])
def test_wirekey_has_no_login_for_it(tmp_path, setting):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, setting)
    assert caught.value.problems[0].key.startswith("providers.code_assist.")


@pytest.mark.parametrize("host", ["cloudcode-pa.googleapis.com", "oauth2.googleapis.com"])
def test_no_custom_provider_has_its_hosts(tmp_path, host):
    file = tmp_path / "wirekey.yaml"
    file.write_text(f"providers: {{custom: [{{name: own, hosts: [{host}]}}]}}\n")
    with pytest.raises(ConfigError, match="the host of a provider that Wirekey knows"):
        load(file, {})
