"""Agents are added, found, rotated and revoked. A running proxy reloads them. A bad file is never overwritten.

The tests with `agents` or `opened` run twice: here with a file, and in tests/features/postgresql with a database.
"""

import json
import logging
import multiprocessing
import os
import stat

import pytest

from wirekey.core.call import Agent
from wirekey.core.identity import agents_format, private_file
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.agents_file import AgentsFileError
from wirekey.core.identity.agents_format import AgentError
from wirekey.core.identity.tokens import TOKEN, token_digest, token_id

TOKEN_TEXT = "wk_" + "aB3" * 14 + "z"


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "agents.json"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(path, clock):
    """Return a function that opens the same agents, as another process of this machine does."""
    return lambda: AgentStore(path, clock)


@pytest.fixture
def agents(opened):
    return opened()


@pytest.fixture
def file_agents(path, clock):
    return AgentStore(path, clock)


def test_an_added_agent_is_found_by_its_token_and_its_hash(agents):
    token = agents.add("alice", role="developer", type="cli")
    assert TOKEN.fullmatch(token)
    assert agents.find(token) == Agent("alice", "developer", "cli")
    assert agents.find_hash(token_digest(token)) == Agent("alice", "developer", "cli")
    assert agents.find(token[:-1]) is None
    assert agents.find("") is None
    assert agents.find("\ud800") is None


def test_no_file_means_no_agents(agents, path):
    assert agents.agents() == ()
    assert agents.find("wk_" + "a" * 43) is None
    assert not path.exists()


def test_the_token_is_not_stored_and_only_the_owner_can_read_the_file(agents, path):
    token = agents.add("alice")
    stored = path.read_text()
    assert token not in stored
    assert token[3:] not in stored
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
    agent = json.loads(stored)["agents"][0]
    names = ["id", "role", "type", "created", "revoked_at", "tokens", "clients", "permissions", "aws", "runs"]
    assert list(agent) == names
    assert list(agent["tokens"][0]) == ["id", "hash", "label", "created", "expires_at"]
    assert agent["tokens"][0]["id"] == token_id(token)


NAMES = ["", " ", "a b", "a:b", "a/b", "a\n", "é", "a" * 65, "a@b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_would_need_escaping_is_refused(agents, name, path):
    with pytest.raises(AgentError, match="letters, digits"):
        agents.add(name)
    assert not path.exists()


@pytest.mark.parametrize("word", ["", "two words", "a\r\nb", "x" * 65])
def test_a_role_or_type_that_could_break_a_line_is_refused(agents, word):
    with pytest.raises(AgentError, match="is not a valid role"):
        agents.add("alice", role=word)
    with pytest.raises(AgentError, match="is not a valid type"):
        agents.add("alice", type=word)


def test_a_name_can_be_added_only_once(agents):
    agents.add("alice")
    with pytest.raises(AgentError, match="agents rotate alice"):
        agents.add("alice")


def test_the_error_for_an_unknown_name_suggests_the_nearest(agents):
    agents.add("alice")
    for change in (agents.revoke, agents.rotate, agents.agent, lambda name: agents.issue_token(name, "exec", 60)):
        with pytest.raises(AgentError, match="Did you mean alice"):
            change("alcie")
        with pytest.raises(AgentError, match="agents list"):
            change("zzz")


def test_rotation_expires_the_previous_tokens_after_the_overlap(agents, clock):
    first = agents.add("alice")
    second = agents.rotate("alice", overlap_seconds=60)
    assert agents.find(first) == agents.find(second) == Agent("alice")
    clock.now += 61
    assert agents.find(first) is None
    assert agents.find(second)
    third = agents.rotate("alice")
    assert agents.find(second) is None
    assert agents.find(third)
    assert len(agents.agent("alice").tokens) == 1


def test_a_second_rotation_does_not_lengthen_the_first_overlap(agents, clock):
    first = agents.add("alice")
    agents.rotate("alice", 60)
    agents.rotate("alice", 3600)
    clock.now += 61
    assert agents.find(first) is None


def test_a_revoked_agent_is_rejected_and_its_record_stays(agents):
    token = agents.add("alice")
    agents.revoke("alice")
    assert agents.find(token) is None
    assert agents.agent("alice").revoked_at
    for change in (agents.rotate, lambda name: agents.issue_token(name, "exec", 1)):
        with pytest.raises(AgentError, match="was revoked"):
            change("alice")


def test_a_revoked_agent_is_restored_with_a_new_token_only(agents):
    previous = agents.add("alice", role="admin")
    agents.revoke("alice")
    token = agents.add("alice")
    assert agents.find(token) == Agent("alice")
    assert agents.find(previous) is None
    assert len(agents.agents()) == 1


def test_further_tokens_have_a_lifetime_and_can_be_dropped(agents, clock):
    agents.add("alice")
    one, two, three = (agents.issue_token("alice", "exec", lifetime) for lifetime in (60, 60, None))
    assert all(agents.find(token) for token in (one, two, three))
    agents.drop_token("alice", one)
    agents.drop_token("alice", one)
    agents.drop_token("alice", token_id(three))
    assert [bool(agents.find(token)) for token in (one, two, three)] == [False, True, False]
    clock.now += 60
    assert agents.find(two) is None


DAY = 86400


def test_a_renewable_token_lives_as_long_as_it_is_renewed(agents, clock):
    agents.add("alice")
    token = agents.issue_token("alice", "exec", 60, renewable=DAY)
    for _ in range(5):
        clock.now += 50
        agents.renew_token("alice", token, 60)
    assert agents.find(token) == Agent("alice")
    clock.now += 60
    assert agents.find(token) is None
    agents.renew_token("alice", token, 60)  # after the sleep of the computer
    assert agents.find(token)


def test_a_token_is_renewed_within_its_bounds_only(agents, clock):
    agents.add("alice")
    token = agents.issue_token("alice", "exec", 60, renewable=100)
    clock.now += 59
    agents.renew_token("alice", token, 60)
    clock.now += 41
    assert agents.find(token) is None
    with pytest.raises(AgentError, match="no longer renewed"):
        agents.renew_token("alice", token, 60)
    other = agents.issue_token("alice", "env", 60)
    with pytest.raises(AgentError, match="no longer renewed"):
        agents.renew_token("alice", other, 600)
    assert agents.agent("alice").tokens[-1].expires_at.timestamp() == clock.now + 60


@pytest.mark.parametrize("end", ["drop_token", "revoke", "rotate", "revoke and add"])
def test_a_token_that_was_revoked_is_not_renewed(agents, end):
    agents.add("alice")
    token = agents.issue_token("alice", "exec", 60, renewable=DAY)
    if end == "drop_token":
        agents.drop_token("alice", token)
    elif end == "rotate":
        agents.rotate("alice")
    else:
        agents.revoke("alice")
    if end == "revoke and add":
        agents.add("alice")
    with pytest.raises(AgentError):
        agents.renew_token("alice", token, 60)
    assert agents.find(token) is None


def test_a_rotation_with_an_overlap_ends_the_renewals_after_it(agents, clock):
    agents.add("alice")
    token = agents.issue_token("alice", "exec", 60, renewable=DAY)
    agents.rotate("alice", overlap_seconds=90)
    clock.now += 50
    agents.renew_token("alice", token, 60)
    clock.now += 39
    assert agents.find(token)
    clock.now += 1
    assert agents.find(token) is None
    with pytest.raises(AgentError):
        agents.renew_token("alice", token, 60)


def test_a_token_that_nobody_renews_is_forgotten_after_some_days(agents, clock):
    agents.add("alice")
    agents.issue_token("alice", "exec", 60, renewable=365 * DAY)
    clock.now += 8 * DAY
    agents.issue_token("alice", "exec", 60, renewable=365 * DAY)
    assert len(agents.agent("alice").tokens) == 2


def test_expired_tokens_do_not_pile_up_in_the_file(agents, clock):
    agents.add("alice")
    for _ in range(5):
        agents.issue_token("alice", "exec", 10)
        clock.now += 11
    assert len(agents.agent("alice").tokens) == 2


def test_an_agent_added_by_another_process_works_immediately(opened, agents):
    agents.refresh()
    token = opened().add("bob")
    assert agents.find(token) == Agent("bob")


def test_a_revocation_by_another_process_applies_after_a_refresh(opened, agents):
    token = agents.add("bob")
    opened().revoke("bob")
    agents.refresh()
    assert agents.find(token) is None


def test_unknown_tokens_do_not_reread_the_file_each_time(agents, monkeypatch):
    agents.add("alice")
    assert agents.find("wk_another") is None
    reads = []
    read = private_file.read
    monkeypatch.setattr(private_file, "read", lambda path: reads.append(path) or read(path))
    for number in range(1000):
        agents.find(f"wk_{number}")
    assert not reads


def test_an_agent_that_was_just_added_is_found_after_any_number_of_unknown_tokens(agents, opened):
    for number in range(10):
        assert agents.find(f"wk_{number}") is None
        token = opened().add(f"agent-{number}")
        assert agents.find(token).id == f"agent-{number}"


BAD_FILES = {
    "empty": (b"", "not a valid list"),
    "cut": (b'{"version": 1, "agents": [', "not a valid list"),
    "not utf-8": (b'{"version": 1, "agents": [{"id": "\xff"}]}', "not a valid list"),
    "later version": (b'{"version": 2, "agents": {}}', "format version 2"),
    "no version": (b'{"agents": []}', "version"),
    "unknown field": (b'{"version": 1, "agents": [], "more": 1}', "more"),
    "bad name": (b'{"version":1,"agents":[{"id":"a b","created":"2026-01-01T00:00:00Z"}]}', r"agents\[0\].id"),
    "naive time": (b'{"version":1,"agents":[{"id":"a","created":"2026-01-01T00:00:00"}]}', r"agents\[0\].created"),
    "two of one name": (
        b'{"version":1,"agents":[{"id":"a","created":"2026-01-01T00:00:00Z"},{"id":"a","created":"2026-01-01T00:00:00Z"}]}',
        "two agents",
    ),
    "deep": (b'{"version":1,"agents":' + b"[" * 100_000, "not a valid list"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_reported_at_start_and_left_unchanged(path, content, message):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(AgentsFileError, match=message) as raised:
        AgentStore(path)
    assert str(path) in str(raised.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_turns_bad_keeps_the_agents_is_reported_once_and_refuses_changes(
    path, file_agents, caplog, content, message
):
    token = file_agents.add("alice")
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        file_agents.refresh()
        file_agents.refresh()
    assert file_agents.find(token)
    assert len(caplog.records) == 1
    assert "previous agents stay active" in caplog.text
    for change in (file_agents.add, file_agents.revoke):
        with pytest.raises(AgentsFileError, match=message):
            change("bob")
    assert path.read_bytes() == content


def test_removing_the_file_removes_all_agents(path, file_agents):
    token = file_agents.add("alice")
    path.unlink()
    file_agents.refresh()
    assert file_agents.find(token) is None


def test_a_folder_in_place_of_the_file_is_reported(path):
    path.mkdir(parents=True)
    with pytest.raises(AgentsFileError, match="cannot be read"):
        AgentStore(path)


def test_a_file_that_cannot_be_written_is_reported_and_unchanged(path, file_agents, monkeypatch):
    file_agents.add("alice")
    before = path.read_bytes()

    def full(_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AgentsFileError, match=r"No space left on device\. Nothing was changed"):
        file_agents.add("bob")
    assert path.read_bytes() == before


def add_many(opened, prefix):
    agents = opened()
    for number in range(20):
        agents.add(f"{prefix}-{number}")


def test_concurrent_writers_lose_nothing(opened):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=add_many, args=(opened, prefix)) for prefix in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(opened().agents()) == 60


def test_an_agent_can_be_enrolled_without_a_token_and_again_without_effect(agents):
    agents.ensure_agent("local")
    token = agents.issue_token("local", label="exec", lifetime=60)
    agents.ensure_agent("local")
    assert agents.find(token) == Agent("local")


def test_labels_of_an_agent_are_set_changed_and_removed_by_name(agents, opened):
    token = agents.add("alice", labels={"team": "search", "project": "p1"})
    assert agents.find(token).labels == (("project", "p1"), ("team", "search"))
    agents.change("alice", labels={"team": "ads", "project": "", "cost_center": "cc-7"})
    assert opened().find(token).labels == (("cost_center", "cc-7"), ("team", "ads"))
    agents.change("alice", role="engineer")
    assert agents.find(token).labels == (("cost_center", "cc-7"), ("team", "ads"))
    agents.change("alice", labels={"team": "", "cost_center": ""})
    assert agents.find(token).labels == ()
    assert '"labels"' not in agents.path.read_text()


@pytest.mark.parametrize(
    "labels",
    [
        {"Team": "search"},
        {"team": "two words"},
        {"team": "x" * 65},
        {"t" * 65: "x"},
        {"team": "caf\u00e9"},
        {"team": "-x"},
        {"team": "wk_abcdefgh12"},
        {f"l{number}": "x" for number in range(17)},
    ],
)
def test_invalid_labels_of_an_agent_are_refused(agents, labels):
    agents.add("alice")
    with pytest.raises(AgentError, match="label"):
        agents.change("alice", labels=labels)
    with pytest.raises(AgentError, match="label"):
        agents.add("bob", labels=labels)


def test_a_file_with_an_invalid_label_is_not_used(agents, opened):
    agents.add("alice", labels={"team": "search"})
    agents.path.write_text(agents.path.read_text().replace('"search"', '"two words"'))
    with pytest.raises(AgentsFileError):
        AgentStore(agents.path)


def test_a_pair_is_found_by_its_access_key_until_rotated_or_revoked(agents, opened):
    agents.add("alice", role="engineer")
    first = agents.pair("alice")
    assert agents.pair("alice") == first
    agent, found = opened().find_pair(first.access_key)
    assert (agent.id, agent.role, found) == ("alice", "engineer", first)
    second = agents.rotate_pair("alice", overlap_seconds=60)
    assert [agents.find_pair(pair.access_key)[1] for pair in (first, second)] == [first, second]
    agents.rotate_pair("alice")
    assert agents.find_pair(second.access_key) is None
    agents.revoke("alice")
    assert agents.find_pair(agents.path.name) is None
    assert first.secret.reveal() not in agents.path.read_text()


def test_an_agent_that_another_process_has_added_is_found_by_its_name(opened):
    first, second = opened(), opened()
    first.add("alice")
    assert second.find_name("alice") == Agent("alice")
    assert second.find_name("bob") is None


def test_the_report_of_an_import_separates_agents_that_existed(opened, tmp_path):
    origin, target = opened(), AgentStore(tmp_path / "target.json")
    origin.add("alice")
    assert target.import_exported(agents_format.decode(origin.export())).added == ["alice"]
    origin.add("bob")
    report = target.import_exported(agents_format.decode(origin.export()))
    assert (report.added, report.unchanged) == (["bob"], ["alice"])


@pytest.mark.parametrize("name", [TOKEN_TEXT, f"alice-{TOKEN_TEXT}"])
def test_a_token_is_no_name_of_an_agent_because_names_are_recorded(agents, name):
    with pytest.raises(AgentError, match="has a token") as refused:
        agents.add(name)
    assert TOKEN_TEXT not in str(refused.value)
