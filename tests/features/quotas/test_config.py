"""The setting `quotas`: what it can say, and what is wrong with what it cannot."""

from __future__ import annotations

import pytest

from tests.support.configuration import loaded, problems
from wirekey.features.quotas.configured import quotas_of

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
    assert (seniors.usd_per_day, seniors.usd_per_month, seniors.warn_at) == (50 * 10**9, 800 * 10**9, 0.8)
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
        ("{name: a, per: all, concurrent: 1, warn_at: 80}", "quotas[0].warn_at", "share between 0 and 1"),
        ("{name: a, per: all, concurrent: 1, burst: true}", "quotas[0].burst", "share between 0 and 1"),
        ("{name: a, per: all, concurrent: 1, timezone: Berlin}", "quotas[0].timezone", "such as Europe/Berlin"),
        ("{name: a, per: all, concurrent: 1, timezone: ../etc}", "quotas[0].timezone", "such as Europe/Berlin"),
        ("{name: a, per: all, concurrent: 1, match: {rolle: x}}", "quotas[0].match", "Did you mean role?"),
        ("{name: a, per: all, concurrent: 1, match: {model: []}}", "quotas[0].match", "model has an empty list"),
        ("{name: a, per: all, concurrent: 1, on_unknown_price: ask}", "quotas[0].on_unknown_price", "refuse or allow"),
        (
            "{name: a, per: all, requests_per_hour: 1}",
            "quotas[0].requests_per_hour",
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
