"""A policy's own tests run when it is loaded; where one fails, the policy is not used."""

import pytest

from tests.support.policies import WHOLE, write
from wirekey.core.policy.engine import EmbeddedEngine
from wirekey.core.policy.modules import PolicyError

QUERY = "data.p.authz"
POLICY = 'package p.authz\ndeny contains "no" if input.model in data.p.lists.bad\n'
LISTS = 'package p.lists\nbad := {"bad"}\n'
TESTS = """package p.authz_test

import data.p.authz

test_bad_is_denied if authz.deny == {"no"} with input as {"model": "bad"}

test_good_is_not if count(authz.deny) == 0 with input as {"model": "good"}

test_the_list_counts if {
	authz.deny == {"no"} with input as {"model": "good"} with data.p.lists.bad as {"good"}
}

todo_test_later if false
"""


def test_a_policy_whose_test_fails_is_refused_at_the_start(tmp_path):
    folder = write(tmp_path / "p", a=POLICY, b=LISTS.replace('bad"', 'other"'), a_test=TESTS)
    with pytest.raises(PolicyError, match=r"a_test\.rego:5:1: the test test_bad_is_denied fails"):
        EmbeddedEngine(folder, QUERY, 60.0)


async def test_a_changed_policy_whose_test_fails_leaves_the_previous_one_in_force(tmp_path, caplog):
    folder = write(tmp_path / "p", a=POLICY, b=LISTS, a_test=TESTS)
    engine = EmbeddedEngine(folder, QUERY, 60.0)
    try:
        first = engine.revision
        (folder / "b.rego").write_text('package p.lists\nbad := {"another"}\n')
        await engine.refresh()
        assert engine.revision == first
        assert engine.rejected
        assert "the test test_bad_is_denied fails" in engine.rejected
        assert (await engine.decide(WHOLE | {"model": "bad"})).reasons == ("no",)
        (folder / "b.rego").write_text('package p.lists\nbad := {"bad", "another"}\n')
        await engine.refresh()
        assert engine.rejected is None
        assert (await engine.decide(WHOLE | {"model": "another"})).reasons == ("no",)
    finally:
        engine.close()


async def test_test_modules_take_no_part_in_decisions(tmp_path):
    deny = 'package p.authz\ndeny contains "a test" if true\n'
    engine = EmbeddedEngine(write(tmp_path / "p", a=POLICY, b=LISTS, a_test=deny), QUERY, 60.0)
    try:
        assert (await engine.decide(WHOLE)).allow
    finally:
        engine.close()
