"""The table of hosts that serve models and are no tunnels by default, and the globs of egress.allow."""

from __future__ import annotations

import pytest

from wirekey.core.egress.names import pattern_of
from wirekey.providers.hosts import FIXED_HOSTS
from wirekey.providers.model_hosts import MODEL_HOSTS, SERVED_BY, model_service, reason_to_refuse_tunnel


@pytest.mark.parametrize(
    "host",
    [
        "cloudcode-pa.googleapis.com",
        "daily-cloudcode-pa.googleapis.com",
        "chatgpt.com",
        "ab.chatgpt.com",
        "europe-west4-aiplatform.googleapis.com",
        "my-resource.openai.azure.com",
        "api.individual.githubcopilot.com",
        "bedrock-runtime.eu-central-1.amazonaws.com",
    ],
)
def test_a_model_host_is_known(host):
    assert model_service(host)


@pytest.mark.parametrize(
    "host", ["github.com", "pkg.go.dev", "googleapis.com", "notchatgpt.com", "openai.azure.com.evil.example"]
)
def test_another_host_is_not(host):
    assert model_service(host) is None


@pytest.mark.parametrize(
    ("host", "fix"),
    [
        ("chatgpt.com", "list the host in egress.allow"),
        ("daily-cloudcode-pa.googleapis.com", "list the host in egress.allow"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "Set providers.bedrock.regions"),
    ],
)
def test_a_refused_tunnel_says_how_wirekey_serves_the_host_or_allows_it(host, fix):
    reason = reason_to_refuse_tunnel(host)
    assert reason
    assert fix in reason
    assert "egress.allow" in reason


def test_other_hosts_need_no_permission():
    assert reason_to_refuse_tunnel("github.com") is None


def test_the_hosts_that_a_setting_serves_are_in_the_table():
    assert SERVED_BY.keys() <= MODEL_HOSTS.keys()


def test_the_table_holds_names_as_they_are_compared():
    assert all(host == host.lower() and "/" not in host for host in MODEL_HOSTS)
    assert not set(MODEL_HOSTS) & set(FIXED_HOSTS)


def test_a_glob_matches_a_whole_name():
    pattern = pattern_of(["github.com", "*.example.org"])
    assert pattern
    assert [bool(pattern.fullmatch(host)) for host in ("github.com", "a.b.example.org")] == [True, True]
    for host in ("example.org", "github.com.evil.example", "xgithub.com", "example.org\n", "a.example.orgx"):
        assert not pattern.fullmatch(host)
    assert pattern_of([]) is None
