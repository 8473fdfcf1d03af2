"""A decision is remembered only where nothing else could come out."""

from __future__ import annotations

import pytest

from tests.support.policies import WHOLE
from wirekey.core.policy.decision import Decision
from wirekey.core.policy.decision_cache import MAX_DECISIONS, DecisionCache, cache_key, fields_of, only_fields
from wirekey.core.policy.engine import EmbeddedEngine
from wirekey.core.policy.input import LARGEST_INPUT, MOST_TOOLS, encode_input

HEAD = "package wirekey.authz\n"


@pytest.mark.parametrize(
    "source",
    [
        'deny if input.model == "x"',
        'deny if input["model"] == "x"',
        'deny if not "web:read" in input.agent.permissions',
        'deny if startswith(input . model, "gpt")',
        "import input.agent as who\ndeny if who.role == data.wirekey.guests",
    ],
)
def test_a_policy_that_reads_only_plain_fields_is_timeless(source):
    assert fields_of([HEAD + source]) is not None


@pytest.mark.parametrize(
    "source",
    [
        "deny if input.time > x",
        'deny if input["time"]',
        "deny if input.id",
        "import input.time as t",
        "import input",
        "deny if input[x]",
        'deny if input["ti\\u006de"]',
        "deny if input[`time`]",
        "deny if some_function(input)",
        "deny if some k; input[k]",
        "deny if x with input as {}",
        "deny if time.now_ns() > 5",
        "deny if time . now_ns() > 5",
        'deny if rand.intn("x", 2) == 1',
        'deny if uuid.rfc4122("x")',
        "deny if \u0456nput.time",
        "# input decides",
    ],
)
def test_a_policy_that_could_see_the_time_is_not_timeless(source):
    assert fields_of([HEAD + source]) is None


def test_the_fields_of_all_modules_count():
    sources = [HEAD + 'deny if input.model == "x"', HEAD + 'deny if input["agent"].role == "y"\nimport input.path as p']
    assert fields_of(sources) == ("agent", "model", "path")
    assert fields_of([HEAD]) == ()
    assert fields_of([*sources, "# input decides"]) is None


def test_calls_that_differ_only_in_fields_that_the_policy_does_not_read_have_one_key():
    def key(**given):
        return cache_key(encode_input(only_fields(given, ("agent", "model"))))

    assert key(id="1", path="a", model="m") == key(model="m", path="b")
    assert key(model="m") != key(model="n") != key(model="n", agent={})


def test_a_key_is_no_longer_for_a_long_input():
    assert len(cache_key(b"{}")) == len(cache_key(b"x" * LARGEST_INPUT)) == 32


def test_the_oldest_is_forgotten_first():
    cache = DecisionCache()
    for number in range(MAX_DECISIONS + 10):
        cache.keep(b"%d" % number, Decision(allow=True))
    assert len(cache) == MAX_DECISIONS
    assert cache.find(b"0") is None
    assert cache.find(b"%d" % (MAX_DECISIONS + 9))


async def test_a_cached_decision_is_the_same_and_a_new_policy_starts_with_an_empty_cache(tmp_path):
    file = tmp_path / "authz.rego"
    file.write_text(HEAD + 'deny contains "No." if input.model == "x"\n')
    engine = EmbeddedEngine(tmp_path, "data.wirekey.authz", 5)
    call = WHOLE | {"model": "x"}
    first = await engine.decide(call)
    again = await engine.decide(call | {"id": "other", "time": "2026-01-01T00:00:00Z"})
    assert first is again
    assert not first.allow
    file.write_text(HEAD + 'deny contains "No." if input.model == "y"\n')
    await engine.refresh()
    assert (await engine.decide(call)).allow
    engine.close()


@pytest.mark.parametrize(
    "more",
    [{"tools": ["t"] * (MOST_TOOLS + 1)}, {"tools": ["x" * LARGEST_INPUT]}, {"model": "\ud800"}, {"model": object()}],
    ids=["too many tools", "too large", "no text", "no JSON"],
)
async def test_P1_a_call_that_cannot_be_encoded_is_denied_and_not_cached(tmp_path, more):
    (tmp_path / "authz.rego").write_text(HEAD + 'deny if input.model == "x"\n')
    engine = EmbeddedEngine(tmp_path, "data.wirekey.authz", 5)
    decision = await engine.decide(WHOLE | more)
    assert (decision.allow, bool(decision.failure), len(engine._loaded.cache)) == (False, True, 0)
    assert (await engine.decide(WHOLE)).allow
    engine.close()


async def test_decisions_of_the_default_policy_are_cached():
    from wirekey.config.policy import SHIPPED_POLICIES

    engine = EmbeddedEngine(SHIPPED_POLICIES, "data.wirekey.authz", 5)
    assert await engine.decide(WHOLE) is await engine.decide(WHOLE | {"id": "other"})
    engine.close()
