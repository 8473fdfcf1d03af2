"""Agents are added, found, rotated and revoked; a running proxy follows; a bad file is never overwritten."""

import json
import logging
import multiprocessing
import os
import stat

import pytest

from wirekey.call import Agent
from wirekey.identity.agents import AgentBook, AgentError, AgentsFileError
from wirekey.identity.tokens import TOKEN, token_digest, token_id


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
def book(path, clock):
    return AgentBook(path, clock)


def test_an_added_agent_is_found_by_its_token_and_its_hash(book):
    token = book.add("alice", role="developer", type="cli")
    assert TOKEN.fullmatch(token)
    assert book.find(token) == Agent("alice", "developer", "cli")
    assert book.find_hash(token_digest(token)) == Agent("alice", "developer", "cli")
    assert book.find(token[:-1]) is None
    assert book.find("") is None
    assert book.find("\ud800") is None


def test_no_file_means_no_agents(book, path):
    assert book.agents() == ()
    assert book.find("wk_" + "a" * 43) is None
    assert not path.exists()


def test_the_token_itself_is_not_stored_and_the_file_is_the_owners(book, path):
    token = book.add("alice")
    stored = path.read_text()
    assert token not in stored
    assert token[3:] not in stored
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
    agent = json.loads(stored)["agents"][0]
    assert list(agent) == ["id", "role", "type", "created", "revoked_at", "tokens", "clients", "permissions", "aws"]
    assert list(agent["tokens"][0]) == ["id", "hash", "label", "created", "expires_at"]
    assert agent["tokens"][0]["id"] == token_id(token)


NAMES = ["", " ", "a b", "a:b", "a/b", "a\n", "é", "a" * 65, "a@b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_would_need_escaping_is_refused(book, name, path):
    with pytest.raises(AgentError, match="letters, digits"):
        book.add(name)
    assert not path.exists()


@pytest.mark.parametrize("word", ["", "two words", "a\r\nb", "x" * 65])
def test_a_role_or_type_that_could_break_a_line_is_refused(book, word):
    with pytest.raises(AgentError, match="is no role"):
        book.add("alice", role=word)
    with pytest.raises(AgentError, match="is no type"):
        book.add("alice", type=word)


def test_a_name_is_given_once(book):
    book.add("alice")
    with pytest.raises(AgentError, match="agents rotate alice"):
        book.add("alice")


def test_an_unknown_name_is_answered_with_the_nearest(book):
    book.add("alice")
    for change in (book.revoke, book.rotate, book.agent, lambda name: book.issue_token(name, "exec", 60)):
        with pytest.raises(AgentError, match="Did you mean alice"):
            change("alcie")
        with pytest.raises(AgentError, match="agents list"):
            change("zzz")


def test_rotation_ends_the_former_tokens_after_the_overlap(book, clock):
    first = book.add("alice")
    second = book.rotate("alice", overlap_seconds=60)
    assert book.find(first) == book.find(second) == Agent("alice")
    clock.now += 61
    assert book.find(first) is None
    assert book.find(second)
    third = book.rotate("alice")
    assert book.find(second) is None
    assert book.find(third)
    assert len(book.agent("alice").tokens) == 1


def test_a_second_rotation_does_not_lengthen_the_first_overlap(book, clock):
    first = book.add("alice")
    book.rotate("alice", 60)
    book.rotate("alice", 3600)
    clock.now += 61
    assert book.find(first) is None


def test_a_revoked_agent_is_out_and_its_record_stays(book):
    token = book.add("alice")
    book.revoke("alice")
    assert book.find(token) is None
    assert book.agent("alice").revoked_at
    for change in (book.rotate, lambda name: book.issue_token(name, "exec", 1)):
        with pytest.raises(AgentError, match="was revoked"):
            change("alice")


def test_a_revoked_agent_is_put_back_with_a_new_token_only(book):
    former = book.add("alice", role="admin")
    book.revoke("alice")
    token = book.add("alice")
    assert book.find(token) == Agent("alice")
    assert book.find(former) is None
    assert len(book.agents()) == 1


def test_further_tokens_have_a_lifetime_and_can_be_dropped(book, clock):
    book.add("alice")
    one, two, three = (book.issue_token("alice", "exec", lifetime) for lifetime in (60, 60, None))
    assert all(book.find(token) for token in (one, two, three))
    book.drop_token("alice", one)
    book.drop_token("alice", one)
    book.drop_token("alice", token_id(three))
    assert [bool(book.find(token)) for token in (one, two, three)] == [False, True, False]
    clock.now += 60
    assert book.find(two) is None


def test_expired_tokens_do_not_pile_up_in_the_file(book, clock):
    book.add("alice")
    for _ in range(5):
        book.issue_token("alice", "exec", 10)
        clock.now += 11
    assert len(book.agent("alice").tokens) == 2


def test_another_process_s_new_agent_works_at_once(path, book):
    book.refresh()
    token = AgentBook(path).add("bob")
    assert book.find(token) == Agent("bob")


def test_another_process_s_revocation_counts_after_a_refresh(path, book):
    token = book.add("bob")
    AgentBook(path).revoke("bob")
    book.refresh()
    assert book.find(token) is None


def test_unknown_tokens_do_not_make_the_file_be_read_each_time(book, monkeypatch):
    book.add("alice")
    looks = []
    monkeypatch.setattr(book, "refresh", lambda: looks.append(1))
    for number in range(1000):
        book.find(f"wk_{number}")
    assert len(looks) < 100


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
def test_a_bad_file_is_named_at_start_and_left_as_it_is(path, content, message):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(AgentsFileError, match=message) as raised:
        AgentBook(path)
    assert str(path) in str(raised.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_gone_bad_keeps_the_agents_says_so_once_and_refuses_changes(path, book, caplog, content, message):
    token = book.add("alice")
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        book.refresh()
        book.refresh()
    assert book.find(token)
    assert len(caplog.records) == 1
    assert "known before stay" in caplog.text
    for change in (book.add, book.revoke):
        with pytest.raises(AgentsFileError, match=message):
            change("bob")
    assert path.read_bytes() == content


def test_a_removed_file_ends_all_agents(path, book):
    token = book.add("alice")
    path.unlink()
    book.refresh()
    assert book.find(token) is None


def test_a_folder_in_place_of_the_file_is_said(path):
    path.mkdir(parents=True)
    with pytest.raises(AgentsFileError, match="cannot be read"):
        AgentBook(path)


def test_a_file_that_cannot_be_written_is_said_and_unchanged(path, book, monkeypatch):
    book.add("alice")
    before = path.read_bytes()

    def full(_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AgentsFileError, match=r"No space left on device\. Nothing was changed"):
        book.add("bob")
    assert path.read_bytes() == before


def add_many(path, prefix):
    book = AgentBook(path)
    for number in range(20):
        book.add(f"{prefix}-{number}")


def test_writers_at_the_same_time_lose_nothing(path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=add_many, args=(path, prefix)) for prefix in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(AgentBook(path).agents()) == 60


def test_an_agent_can_be_enrolled_without_a_token_and_again_without_effect(tmp_path):
    book = AgentBook(tmp_path / "agents.json")
    book.enrol("local")
    token = book.issue_token("local", label="exec", lifetime=60)
    book.enrol("local")
    assert book.find(token) == Agent("local")


def test_a_pair_is_found_by_its_access_key_until_it_is_replaced_or_the_agent_revoked(tmp_path):
    book = AgentBook(tmp_path / "agents.json")
    book.add("alice", role="engineer")
    first = book.pair("alice")
    assert book.pair("alice") == first
    agent, found = AgentBook(tmp_path / "agents.json").find_pair(first.access_key)
    assert (agent.id, agent.role, found) == ("alice", "engineer", first)
    second = book.rotate_pair("alice", overlap_seconds=60)
    assert [book.find_pair(pair.access_key)[1] for pair in (first, second)] == [first, second]
    book.rotate_pair("alice")
    assert book.find_pair(second.access_key) is None
    book.revoke("alice")
    assert book.find_pair(book.path.name) is None
    assert first.secret.reveal() not in book.path.read_text()
