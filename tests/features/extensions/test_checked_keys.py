"""What a function of the operator may say of a key, and for how long its answer is remembered."""

from __future__ import annotations

import pytest

from wirekey.core.call import Agent
from wirekey.core.identity.agents import AgentStore
from wirekey.core.labels import MOST
from wirekey.core.permissions import MAX_PERMISSIONS
from wirekey.extension import Secret
from wirekey.features.extensions.checked_keys import ACCEPTED_FOR, REFUSED_FOR, CheckedKey, CheckedKeys, owner_of

NOW = 1_800_000_000.0
KEY = Secret("key-of-a-client-4f61")


class Clock:
    now = NOW

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("result", "owner"),
    [
        (None, None),
        ("alice", "alice"),
        (Agent("bob"), Agent("bob")),
        (Agent("bob", "engineer", "interactive", ["b", "a", "a"]), Agent("bob", "engineer", "interactive", ("a", "b"))),
        (Agent("bob", permissions=()), Agent("bob", permissions=())),
        (Agent("bob", strict=True), Agent("bob", strict=True)),
        (Agent("bob", labels={"team": "b", "app": "a"}), Agent("bob", labels=(("app", "a"), ("team", "b")))),
        (Agent("bob", labels=(("team", "b"),)), Agent("bob", labels=(("team", "b"),))),
    ],
)
def test_a_valid_result_is_the_owner_of_a_key(result, owner):
    assert owner_of(result) == owner


@pytest.mark.parametrize(
    "result",
    [
        "",
        "two words",
        "line\nbreak",
        "é",
        "x" * 256,
        True,
        False,
        0,
        b"alice",
        {"id": "alice"},
        ("alice",),
        Agent(""),
        Agent("two words"),
        Agent(None),
        Agent("bob", role="two words"),
        Agent("bob", role=5),
        Agent("bob", type=""),
        Agent("bob", permissions="web:read"),
        Agent("bob", permissions=None),
        Agent("bob", labels=None),
        Agent("bob", labels="team=b"),
        Agent("bob", labels={"team": 5}),
        Agent("bob", labels={"Team": "b"}),
        Agent("bob", labels={f"l{number}": "v" for number in range(MOST + 1)}),
        Agent("bob", permissions=("a b",)),
        Agent("bob", permissions=(5,)),
        Agent("bob", permissions=tuple(f"p{number}" for number in range(MAX_PERMISSIONS + 1))),
    ],
    ids=repr,
)
def test_any_other_result_is_an_error_that_does_not_quote_it(result):
    with pytest.raises(ValueError, match="returned ") as error:
        owner_of(result)
    assert error.value.__cause__ is None
    assert not any(text in str(error.value) for text in ("bob", "alice", "two words", "a b"))


@pytest.fixture
def agents(tmp_path):
    agents = AgentStore(tmp_path / "agents.json")
    agents.add("alice", role="engineer")
    agents.add("gone")
    agents.revoke("gone")
    return agents


@pytest.mark.parametrize(
    ("owner", "found"),
    [
        ("alice", Agent("alice", "engineer")),
        ("gone", None),
        ("nobody", None),
        (Agent("external", "reader"), Agent("external", "reader")),
        (Agent("alice", "admin"), None),
        (Agent("gone"), None),
    ],
    ids=repr,
)
def test_a_key_identifies_an_agent_that_exists_or_one_that_only_the_function_knows(agents, owner, found):
    assert CheckedKey(owner, NOW + 1).find_agent(agents, NOW) == found
    assert CheckedKey(owner, NOW + 1).find_agent(agents, NOW + 1) is None


def test_a_change_of_the_agent_is_in_effect_at_once(agents):
    checked = CheckedKey("alice", NOW + 1)
    agents.change("alice", role="reviewer", permissions=("web:read",))
    assert checked.find_agent(agents, NOW) == Agent("alice", "reviewer", permissions=("web:read",))
    agents.change("alice", suspended=True)
    assert checked.find_agent(agents, NOW) is None


@pytest.mark.parametrize(("checked", "seconds"), [(CheckedKey("a", NOW), ACCEPTED_FOR), (None, REFUSED_FOR)], ids=repr)
def test_an_answer_is_remembered_for_a_short_time(checked, seconds):
    clock = Clock()
    answers = CheckedKeys(clock)
    digest = answers.digest(KEY, "proxy")
    assert not answers.is_known(digest)
    answers.remember(digest, checked)
    clock.now += seconds - 0.001
    assert answers.is_known(digest)
    assert answers.find(digest) == checked
    clock.now += 0.001
    assert not answers.is_known(digest)


def test_the_oldest_answer_is_forgotten_first():
    answers = CheckedKeys(Clock(), most=2)
    digests = [answers.digest(Secret(f"key-{number}"), "proxy") for number in range(3)]
    for digest in digests:
        answers.remember(digest, None)
    assert [answers.is_known(digest) for digest in digests] == [False, True, True]


def test_the_hash_depends_on_the_key_the_place_and_the_process():
    answers = CheckedKeys()
    hashes = {answers.digest(KEY, "proxy"), answers.digest(KEY, "api_key"), CheckedKeys().digest(KEY, "proxy")}
    assert len(hashes) == 3
    assert answers.digest(Secret(KEY.reveal()), "proxy") in hashes


def test_nothing_that_is_kept_shows_the_key():
    answers = CheckedKeys()
    answers.remember(answers.digest(KEY, "proxy"), CheckedKey("alice", NOW))
    assert KEY.reveal() not in repr((answers, answers._results, CheckedKey("alice", NOW), KEY))
    assert answers._hash_key.hex() not in repr(answers)
