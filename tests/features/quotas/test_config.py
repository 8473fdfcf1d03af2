"""The setting `quotas`: what it can say, and what is wrong with what it cannot."""

from __future__ import annotations

import pytest

from tests.support.configuration import loaded, problems
from wirekey.config.effective import effective_settings
from wirekey.features.quotas.configured import quotas_of
from wirekey.features.quotas.limit_names import TOTALS

CONTRACT = """
quotas:
  - {name: per-agent, per: agent, requests_per_minute: 600, tokens_per_minute: 200000, concurrent: 32}
  - name: seniors
    per: agent
    match: {role: senior, model: "gpt-5*"}
    usd_per_day: 50
    usd_per_month: 800
    warn_at: 0.8
  - {name: company, per: all, usd_per_month: 20000, timezone: Europe/Berlin, on_unknown_price: allow}
"""


def test_quotas_are_read_in_their_order(tmp_path):
    rates, seniors, company = quotas_of(loaded(tmp_path, CONTRACT))
    assert (rates.name, rates.per, rates.requests_per_minute, rates.tokens_per_minute, rates.concurrent) == (
        *("per-agent", "agent"),
        *(600, 200_000, 32),
    )
    assert (seniors.usd_per_day, seniors.usd_per_month, seniors.warn_at) == (50 * 10**9, 800 * 10**9, (0.8,))
    assert seniors.applies({"agent_role": "senior", "model": "gpt-5-mini"})
    assert not seniors.applies({"agent_role": "senior", "model": "gpt-4o"})
    assert (company.calendar.name, company.refuses_unknown_price) == ("Europe/Berlin", False)


@pytest.mark.parametrize(
    ("entry", "key", "words"),
    [
        ("{per: all, concurrent: 1}", "quotas[0].name", "is missing. Add it"),
        ("{name: a, concurrent: 1}", "quotas[0].per", "is missing. Add it"),
        ("{name: a, per: all}", "quotas[0]", "limits nothing. Add one of requests_per_minute"),
        ("{name: 'a b', per: all, concurrent: 1}", "quotas[0].name", "letters, digits, dots"),
        ("{name: a, per: 'label:Team', concurrent: 1}", "quotas[0].per", "names a label that cannot exist"),
        (
            "{name: a, per: team, concurrent: 1}",
            "quotas[0].per",
            "must be agent, role, type, model",
        ),
        ("{name: a, per: all, concurrent: 0}", "quotas[0].concurrent", "must be larger than 0"),
        ("{name: a, per: all, concurrent: 1.5}", "quotas[0].concurrent", "must be a whole number"),
        ("{name: a, per: all, requests_per_minute: '9'}", "quotas[0].requests_per_minute", "must be a whole number"),
        ("{name: a, per: all, usd_per_day: '$5'}", "quotas[0].usd_per_day", "must be a number of US dollars"),
        ("{name: a, per: all, usd_per_day: -5}", "quotas[0].usd_per_day", "must be larger than 0"),
        ("{name: a, per: all, usd_per_day: 9, usd_per_month: 8}", "quotas[0]", "is larger than usd_per_month"),
        (
            "{name: a, per: all, concurrent: 1, notify: {url: 'http://hooks.example', secret: env:A}}",
            "quotas[0].notify.url",
            "must begin with https://, unless the host is this machine",
        ),
        (
            "{name: a, per: all, concurrent: 1, notify: {url: 'https://hooks.example', secret: plain}}",
            "quotas[0].notify.secret",
            "env:NAME",
        ),
        ("{name: a, per: all, concurrent: 1, warn_at: 0}", "quotas[0].warn_at", "share between 0 and 1"),
        ("{name: a, per: all, concurrent: 1, warn_at: 80}", "quotas[0].warn_at", "share between 0 and 1"),
        (
            "{name: a, per: all, usd_per_week: 9, usd_lifetime: 8}",
            "quotas[0]",
            "usd_per_week is larger than usd_lifetime",
        ),
        ("{name: a, per: all, tokens_per_hour: 9, tokens_per_day: 8}", "quotas[0]", "is larger than tokens_per_day"),
        ("{name: a, per: all, concurrent: 1, overrides: {a: {concurrent: 2}}}", "quotas[0]", "has overrides, but adds"),
        ("{name: a, per: agent, concurrent: 1, overrides: {bob: {}}}", "quotas[0]", "overrides.bob limits nothing"),
        ("{name: a, per: agent, overrides: {bob: {burst: 1}}}", "quotas[0].overrides.bob.burst", "is not a setting"),
        (
            "{name: a, per: agent, usd_per_month: 8, overrides: {bob: {usd_per_day: 9}}}",
            "quotas[0]",
            "overrides.bob: usd_per_day is larger than usd_per_month",
        ),
        ("{name: a, per: all, concurrent: 1, warn_at: [0.5, 2]}", "quotas[0].warn_at", "share between 0 and 1"),
        ("{name: a, per: all, concurrent: 1, burst: true}", "quotas[0].burst", "share between 0 and 1"),
        ("{name: a, per: all, concurrent: 1, timezone: Berlin}", "quotas[0].timezone", "such as Europe/Berlin"),
        ("{name: a, per: all, concurrent: 1, timezone: ../etc}", "quotas[0].timezone", "such as Europe/Berlin"),
        ("{name: a, per: all, concurrent: 1, match: {rolle: x}}", "quotas[0].match", "Did you mean role?"),
        ("{name: a, per: all, concurrent: 1, match: {model: []}}", "quotas[0].match", "model has an empty list"),
        ("{name: a, per: all, concurrent: 1, on_unknown_price: ask}", "quotas[0].on_unknown_price", "refuse or allow"),
        (
            "{name: a, per: all, requests_per_minutes: 1}",
            "quotas[0].requests_per_minutes",
            "Did you mean requests_per_minute",
        ),
    ],
)
def test_a_wrong_quota_is_reported_with_its_line_and_the_fix(tmp_path, entry, key, words):
    found = problems(tmp_path, f"state: s\nquotas:\n  - {entry}")
    assert [(problem.key, problem.line) for problem in found] == [(key, 3)]
    assert words in found[0].message


def test_two_quotas_of_one_name_are_refused(tmp_path):
    (found,) = problems(tmp_path, "quotas: [{name: a, per: all, concurrent: 1}, {name: a, per: role, concurrent: 2}]")
    assert (found.key, found.line) == ("quotas", 1)
    assert "quotas[0] and quotas[1] have the same name" in found.message


OVERRIDES = """
quotas:
  - name: agents
    per: agent
    usd_per_day: 20
    concurrent: 4
    warn_at: [1, 0.5]
    overrides: {alice: {usd_per_day: 80, tokens_per_week: 5000000}, bob: {concurrent: 8}}
"""


@pytest.mark.parametrize(
    ("subject", "limits"),
    [
        ("alice", {"usd_per_day": 80 * 10**9, "concurrent": 4, "tokens_per_week": 5_000_000}),
        ("bob", {"usd_per_day": 20 * 10**9, "concurrent": 8, "tokens_per_week": None}),
        ("carol", {"usd_per_day": 20 * 10**9, "concurrent": 4, "tokens_per_week": None}),
        ("alice (unverified)", {"usd_per_day": 20 * 10**9, "concurrent": 4, "tokens_per_week": None}),
    ],
)
def test_an_override_replaces_the_limits_that_it_sets_for_one_subject(tmp_path, subject, limits):
    (quota,) = quotas_of(loaded(tmp_path, OVERRIDES))
    found = quota.limits_of(subject)
    assert {name: getattr(found, name) for name in limits} == limits
    assert quota.warn_at == (0.5, 1.0)


def test_every_limit_of_a_total_can_be_set(tmp_path):
    limits = ", ".join(f"{name}: {place + 1}" for place, name in enumerate(TOTALS))
    (quota,) = quotas_of(loaded(tmp_path, f"quotas: [{{name: a, per: agent, {limits}}}]"))
    assert [(name, limit) for name, limit, _ in quota.totals] == [
        (name, (place + 1) * (10**9 if name.startswith("usd") else 1)) for place, name in enumerate(TOTALS)
    ]


def test_the_effective_settings_name_each_limit_of_an_override(tmp_path):
    shown = {each.key: each.value for each in effective_settings(loaded(tmp_path, OVERRIDES))}
    assert shown["quotas[0].overrides.alice.usd_per_day"] == 80
