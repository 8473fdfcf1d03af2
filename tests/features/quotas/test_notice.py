"""What a notice contains, how it is signed, and which receivers and secrets are refused."""

from __future__ import annotations

import base64
import json

import pytest

from tests.docs.pages import blocks_of
from tests.features.quotas.making import START, usd
from tests.features.quotas.receiver import KEY, SECRET, Received
from tests.support.configuration import loaded
from wirekey.config import ConfigError
from wirekey.core.secret import Secret
from wirekey.features.quotas.configured import configured_quotas
from wirekey.features.quotas.definition import ALL, NOBODY, Applied, Quota
from wirekey.features.quotas.estimate import Use
from wirekey.features.quotas.limits import budget_limits
from wirekey.features.quotas.notice import key_of, notice_of, signed_headers
from wirekey.features.quotas.thresholds import ReachedShare
from wirekey.features.quotas.webhook import Webhook

ID = "msg_0123"
PAGE = "docs/guides/quotas.md"


def reached(quota: Quota, subject: str, share: float, spent: int) -> ReachedShare:
    [limit] = budget_limits([Applied(quota, subject)], Use(1, 1, 1), START)
    return ReachedShare(limit, share, spent)


@pytest.mark.parametrize(
    ("given", "kind", "data"),
    [
        (
            reached(Quota("q", "agent", usd_per_day=usd(50)), "alice", 0.8, usd(40.5)),
            "quota.warning",
            {
                "quota": "q",
                "per": "agent",
                "subject": "alice",
                "limit": "usd_per_day",
                "share": 0.8,
                "spent": 40.5,
                "allowed": 50.0,
                "period": "2026-01-01",
                "period_start": "2026-01-01T00:00:00Z",
                "period_end": "2026-01-02T00:00:00Z",
            },
        ),
        (
            reached(Quota("company", "all", tokens_lifetime=1000), ALL, 1.0, 1000),
            "quota.exhausted",
            {
                "quota": "company",
                "per": "all",
                "subject": None,
                "limit": "tokens_lifetime",
                "share": 1.0,
                "spent": 1000,
                "allowed": 1000,
                "period": "lifetime",
                "period_start": None,
                "period_end": None,
            },
        ),
        (
            reached(Quota("q", "label:team", requests_per_hour=10), NOBODY, 0.5, 6),
            "quota.warning",
            {
                "quota": "q",
                "per": "label:team",
                "subject": None,
                "limit": "requests_per_hour",
                "share": 0.5,
                "spent": 6,
                "allowed": 10,
                "period": "2026-01-01T00",
                "period_start": "2026-01-01T00:00:00Z",
                "period_end": "2026-01-01T01:00:00Z",
            },
        ),
    ],
)
def test_a_notice_has_names_and_amounts(given, kind, data):
    assert json.loads(notice_of(given, ID, START + 1.9)) == {
        "type": kind,
        "timestamp": "2026-01-01T00:00:01Z",
        "data": {"id": ID, **data},
    }


def test_the_signature_is_that_of_the_example_in_the_specification():
    """The values of the test of the reference libraries of Standard Webhooks."""
    headers = signed_headers(
        Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers == (
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    )


@pytest.mark.parametrize("body", [b"", b"{}", b'{"a": "\xc3\xa9."}'])
def test_the_signature_is_that_of_another_implementation(body):
    received = Received(dict(signed_headers(Secret(SECRET), ID, 1, body)), body, "/")
    assert received.is_signed
    assert not received._replace(body=body + b" ").is_signed
    assert not received._replace(headers=received.headers | {"webhook-timestamp": "2"}).is_signed


def test_the_program_of_the_guide_accepts_what_is_signed_and_nothing_else(monkeypatch):
    [block] = [each for each in blocks_of(PAGE) if each.language == "python" and "webhook-signature" in each.text]
    names: dict = {}
    exec(compile(block.text, block.name, "exec"), names)  # the code of the page
    body = b'{"type":"quota.warning"}'
    monkeypatch.setattr(names["time"], "time", lambda: 1000.0)
    headers = dict(signed_headers(Secret(SECRET), ID, 900, body))
    assert names["is_genuine"](SECRET, headers, body)
    assert not names["is_genuine"](SECRET, headers, body + b" ")
    assert not names["is_genuine"]("whsec_" + base64.b64encode(bytes(32)).decode(), headers, body)
    assert not names["is_genuine"](SECRET, dict(signed_headers(Secret(SECRET), ID, 600, body)), body)


@pytest.mark.parametrize("text", [SECRET, SECRET.removeprefix("whsec_")])
def test_the_prefix_of_a_secret_is_optional(text):
    assert key_of(Secret(text)) == KEY


@pytest.mark.parametrize("text", ["hunter2-hunter2-hunter2!", "aGVsbG8=", base64.b64encode(bytes(65)).decode()])
def test_a_secret_that_is_short_or_not_base64_is_refused_without_being_shown(text):
    with pytest.raises(ValueError, match="base64 of 24 to 64 random bytes") as caught:
        key_of(Secret(text))
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "words"),
    [({"NOTICE": "hunter2"}, "must be base64 of 24 to 64 random bytes"), ({}, "env:NOTICE")],
)
def test_a_quota_whose_secret_cannot_be_used_is_refused_with_its_key_and_line(tmp_path, environ, words):
    notify = "notify: {url: 'https://hooks.corp.example', secret: env:NOTICE}"
    config = loaded(tmp_path, f"state: s\nquotas:\n  - {{name: a, per: all, concurrent: 1, {notify}}}", environ)
    with pytest.raises(ConfigError) as caught:
        configured_quotas(config)
    [problem] = caught.value.problems
    assert (problem.key, problem.line) == ("quotas[0].notify.secret", 3)
    assert words in problem.message
    assert "hunter2" not in problem.message


def test_a_quota_with_a_receiver_reports_when_all_is_spent(tmp_path):
    notify = "notify: {url: 'https://hooks.corp.example', secret: env:NOTICE}"
    text = f"quotas: [{{name: a, per: all, usd_per_day: 1, {notify}}}, {{name: b, per: all, usd_per_day: 1}}]"
    configured = configured_quotas(loaded(tmp_path, text, {"NOTICE": SECRET}))
    assert configured
    assert [quota.warn_at for quota in configured.quotas] == [(0.8, 1.0), (0.8,)]
    assert list(configured.webhooks) == ["a"]


def test_a_receiver_shows_neither_its_secret_nor_its_path():
    webhook = Webhook("https://hooks.corp.example:8443/T0K3N?key=T0K3N", Secret(SECRET))
    assert webhook.shown == "https://hooks.corp.example:8443"
    assert repr(webhook) == "Webhook()"
