"""Agents that exist already are imported from JSON or CSV: all or none, and again without a change."""

import json
import re
import secrets
import stat

import pytest
from msgspec import UNSET

from wirekey.core.call import Agent
from wirekey.core.command_name import COMMAND
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.agents_format import AgentError
from wirekey.core.identity.clients import is_secret_of
from wirekey.core.identity.import_file import ImportRefusedError, read_entries

TOKEN = secrets.token_urlsafe(32)
OTHER = secrets.token_urlsafe(32)
SECRET = secrets.token_urlsafe(32)
WEAK = "our-proxy-key-2026"


@pytest.fixture
def agents(tmp_path):
    return AgentStore(tmp_path / "state" / "agents.json")


def bring(agents, document):
    """Import agents, as JSON unless the document is a text."""
    text = document if isinstance(document, str) else json.dumps(document)
    report = agents.import_agents(read_entries(text.encode(), "users"))
    agents.refresh()
    return report


def found(agents, token):
    return agents.find_hash(agents.imported_digest(token))


def problems(document):
    text = document if isinstance(document, str | bytes) else json.dumps(document)
    with pytest.raises(ImportRefusedError) as refused:
        read_entries(text if isinstance(text, bytes) else text.encode(), "users")
    return refused.value.problems


BILLING = {"agent": "billing", "role": "batch", "type": "autonomous", "permissions": ["web:read"], "token": TOKEN}


def test_an_imported_token_identifies_its_agent(agents):
    report = bring(agents, [BILLING])
    assert (report.added, report.changed, report.unchanged, report.warnings) == (["billing"], [], [], [])
    assert found(agents, TOKEN) == Agent("billing", "batch", "autonomous", ("web:read",))
    assert agents.is_imported(agents.imported_digest(TOKEN))
    assert not agents.is_guessable(agents.imported_digest(TOKEN))
    assert not agents.has_guessable
    assert found(agents, OTHER) is None
    assert agents.find(TOKEN) is None, "it is not found as a token that Wirekey made"


def test_an_imported_client_keeps_its_id_and_secret(agents):
    bring(agents, [{"agent": "billing", "client_id": "7d0e-billing", "client_secret": SECRET}])
    client = agents.find_client("7d0e-billing")
    assert client.agent.id == "billing"
    assert is_secret_of(client, SECRET)
    assert not is_secret_of(client, SECRET + "x")
    assert all(repr(key) not in repr(client) for key in client.keys)


def test_secrets_are_stored_by_a_keyed_hash_and_the_file_is_private(agents):
    bring(agents, [BILLING | {"client_id": "billing-1", "client_secret": SECRET}])
    stored = agents.path.read_text()
    assert TOKEN not in stored
    assert SECRET not in stored
    assert stat.S_IMODE(agents.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(agents.path.with_name("aws-master.key").stat().st_mode) == 0o600


def test_csv_has_the_same_fields_and_several_rows_of_an_agent_add_tokens(agents):
    report = bring(
        agents,
        "agent,role,permissions,token,client_id,client_secret\n"
        f"billing,batch,web:read web:write,{TOKEN},,\n"
        f"billing,batch,,{OTHER},,\n"
        f"search,,,,search-1,{SECRET}\n",
    )
    assert report.added == ["billing", "search"]
    assert found(agents, TOKEN) == found(agents, OTHER) == Agent("billing", "batch", None, ("web:read", "web:write"))
    assert agents.find_client("search-1").agent.id == "search"


def test_labels_are_an_object_in_json_and_words_in_csv(agents):
    bring(agents, [BILLING | {"labels": {"team": "finance", "app": "v1"}}])
    bring(agents, f"agent,labels,token\nsearch,team=search app=v2,{OTHER}\n")
    assert found(agents, TOKEN).labels == (("app", "v1"), ("team", "finance"))
    assert found(agents, OTHER).labels == (("app", "v2"), ("team", "search"))
    assert bring(agents, [{"agent": "search", "labels": {"team": "search", "app": "v2"}}]).unchanged == ["search"]
    with pytest.raises(ImportRefusedError, match=r"labels: is team=ads here, and app=v2 team=search in Wirekey"):
        bring(agents, [{"agent": "search", "labels": {"team": "ads"}}])


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["team"], "must be an object of texts"),
        ({"team": 5}, "must be an object of texts"),
        ("team=a team=b", "must be an object of texts, or words NAME=VALUE, each name once."),
        ("team", "'' is not a valid value of the label team"),
        ({"Team": "a"}, "'Team' is not a valid name of a label"),
    ],
)
def test_labels_that_are_not_valid_are_refused(labels, problem):
    (found_problem,) = problems([BILLING | {"labels": labels}])
    assert found_problem.startswith(f"users: row 1: labels: {problem}")


def test_a_file_written_on_windows_can_be_imported(agents):
    bring(agents, f"\ufeffagent,token\r\nbilling,{TOKEN}\r\n")
    assert found(agents, TOKEN).id == "billing"


def test_a_second_import_changes_nothing(agents):
    bring(agents, [BILLING, {"agent": "search", "client_id": "search-1", "client_secret": SECRET}])
    before = agents.path.read_bytes()
    report = bring(agents, [BILLING, {"agent": "search", "client_id": "search-1", "client_secret": SECRET}])
    assert (report.added, report.changed, report.unchanged) == ([], [], ["billing", "search"])
    assert agents.path.read_bytes() == before


def test_an_agent_that_exists_gets_the_credentials_that_it_lacks(agents):
    token = agents.add("billing", role="batch")
    report = bring(agents, [{"agent": "billing", "token": TOKEN}])
    assert report.changed == ["billing"]
    assert found(agents, TOKEN) == agents.find(token) == Agent("billing", "batch")


DIFFERENCES = [
    ({"role": "other"}, "users: row 1: role: is other here, and batch in Wirekey"),
    ({"type": "cli"}, "users: row 1: type: is cli here, and autonomous in Wirekey"),
    ({"permissions": ["web:write"]}, "users: row 1: permissions: is web:write here, and web:read in Wirekey"),
    ({"suspended": True}, "users: row 1: suspended: is true here, and false in Wirekey"),
    ({"client_secret": OTHER}, "users: row 1: client_secret: is not the one"),
    ({"agent": "other"}, "users: row 1: token: already belongs to the agent billing"),
    ({"agent": "other", "token": None}, "users: row 1: client_id: already belongs to the agent billing"),
    ({"agent": "gone"}, "users: row 1: agent: gone was revoked"),
]


@pytest.mark.parametrize(("change", "words"), DIFFERENCES, ids=[words for _, words in DIFFERENCES])
def test_a_difference_is_named_and_nothing_is_imported(agents, change, words):
    known = BILLING | {"client_id": "billing-1", "client_secret": SECRET}
    bring(agents, [known])
    agents.add("gone")
    agents.revoke("gone")
    before = agents.path.read_bytes()
    with pytest.raises(ImportRefusedError) as refused:
        bring(agents, [known | change, {"agent": "new", "token": OTHER + "2"}])
    assert any(words in problem for problem in refused.value.problems)
    assert "Nothing was imported" in str(refused.value)
    assert agents.path.read_bytes() == before
    assert TOKEN not in str(refused.value)
    assert SECRET not in str(refused.value)


WRONG = [
    ([{"agent": "a b", "token": TOKEN}], "users: row 1: agent: 'a b' is not a valid agent name"),
    ([{"token": TOKEN}], "users: row 1: agent: is missing"),
    ([BILLING, {"agent": "x", "token": "short"}], "users: row 2: token: has 5 characters"),
    ([{"agent": "x", "tokens": ["short"]}], "users: row 1: token: has 5 characters"),
    ([{"agent": "x", "token": "wk_" + "a" * 43}], "users: row 1: token: begins with wk_"),
    ([{"agent": "x", "client_id": "one"}], "users: row 1: client_secret: is missing"),
    ([{"agent": "x", "client_secret": SECRET}], "users: row 1: client_id: is missing"),
    ([{"agent": "x", "client_id": "one", "client_secret": "short"}], "users: row 1: client_secret: has 5 characters"),
    ([{"agent": "x", "client_id": "a b", "client_secret": SECRET}], "users: row 1: client_id: must have 1 to 128"),
    (
        [{"agent": "x", "client_id": "wkc_x", "client_secret": SECRET}],
        "users: row 1: client_id: begins with wkc_, which only ids made by Wirekey do",
    ),
    (
        [{"agent": name, "client_id": "one", "client_secret": SECRET} for name in ("x", "y")],
        "users: row 2: client_id: is also in users: row 1, with another agent or secret",
    ),
    ({"agents": [BILLING, {"agent": "x", "token": "short"}]}, "users: row 2: token: has 5 characters"),
    ({"agent": "x", "token": "short"}, "users: row 1: token: has 5 characters"),
    ('agent,token\n"x"y,z\n', "users: is not valid CSV"),
    ([{"agent": "x", "role": "two words", "token": TOKEN}], "users: row 1: role: 'two words' is not a valid role"),
    ([{"agent": "x", "permissions": ["!"]}], "users: row 1: permissions: '!' is not a valid permission"),
    ([{"agent": "x", "permissions": 7}], "users: row 1: permissions: must be a list of words"),
    ([{"agent": "x", "suspended": "maybe"}], "users: row 1: suspended: must be true or false"),
    ([{"agent": "x", "tokens": "one"}], "users: row 1: tokens: must be a list of texts"),
    ([{"agent": 7}], "users: row 1: agent: must be a text"),
    ([{"agent": "x", "tokn": TOKEN}], "users: row 1: 'tokn' is not a field. Did you mean token?"),
    ([BILLING, {"agent": "x", "token": TOKEN}], "users: row 2: token: is also the token of billing (users: row 1)"),
    ([7], "users: must be a list of objects"),
    ([], "users: has no agents"),
    ('[{"agent": "x", "agent": "y"}]', "users: an object has the member 'agent' twice"),
    ('[{"agent": ', "users: line 1: is not valid JSON"),
    ("[" * 100_000, "users: is nested too deeply"),
    (f"agent,tokn\nx,{TOKEN}\n", "users: row 1: 'tokn' is not a field. Did you mean token?"),
    (f"agent,token\nx,{TOKEN}\ny\n", "users: row 3: has 1 cells, and the first row has 2"),
    ("agent,agent\nx,y\n", "users: row 1: names a field twice"),
    ("agent,token\nx,short\n", "users: row 2: token: has 5 characters"),
    ("", "users: has no agents"),
    (b"\xff\xfe", "users: is not a text file in UTF-8"),
]


@pytest.mark.parametrize(("document", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_mistake_is_named_by_file_row_and_field(document, words):
    assert any(problem.startswith(words) for problem in problems(document)), problems(document)


def test_all_mistakes_of_a_file_are_reported_together():
    found = problems([{"agent": f"agent-{number}", "token": "short"} for number in range(50)])
    assert len(found) == 50
    text = str(ImportRefusedError(found))
    assert "users: row 20: token" in text
    assert "… and 30 more problems." in text


def test_a_secret_with_little_entropy_is_imported_with_a_warning(agents):
    report = bring(agents, [{"agent": "everyone", "token": WEAK}])
    (warning,) = report.warnings
    assert warning.startswith("users: row 1: token: has about ")
    assert WEAK not in warning
    assert found(agents, WEAK).id == "everyone"
    assert agents.is_guessable(agents.imported_digest(WEAK))
    assert agents.has_guessable


def test_a_client_secret_with_little_entropy_is_known_as_guessable(agents):
    bring(
        agents,
        [
            {"agent": "weak", "client_id": "a", "client_secret": WEAK},
            {"agent": "good", "client_id": "b", "client_secret": SECRET},
        ],
    )
    assert [agents.agent(name).clients[0].guessable for name in ("weak", "good")] == [True, UNSET]


def test_many_agents_are_imported_in_one_step(agents):
    report = bring(agents, [{"agent": f"agent-{number}", "token": secrets.token_hex(32)} for number in range(2000)])
    assert len(report.added) == 2000


def test_another_process_finds_imported_tokens(agents):
    reader = AgentStore(agents.path)
    assert not reader.has_imported
    bring(agents, [BILLING])
    reader.refresh()
    assert reader.find_hash(reader.imported_digest(TOKEN)).id == "billing"


def test_attributes_change_in_place_and_credentials_stay(agents):
    token = agents.add("alice", role="developer", type="cli", permissions=("web:read",))
    agents.change("alice", role="reviewer")
    assert agents.find(token) == Agent("alice", "reviewer", "cli", ("web:read",))
    agents.change("alice", type="", permissions=("web:write", "web:read"))
    assert agents.find(token) == Agent("alice", "reviewer", None, ("web:read", "web:write"))
    agents.change("alice", permissions=(), role="")
    assert agents.find(token) == Agent("alice")


def test_a_suspended_agent_has_no_valid_credential_until_it_is_resumed(agents):
    token = agents.add("alice")
    client = agents.rotate_client("alice")
    pair = agents.pair("alice")
    agents.change("alice", suspended=True)
    assert agents.find(token) is agents.find_client(client.client_id) is agents.find_pair(pair.access_key) is None
    assert agents.has("alice")
    with pytest.raises(
        AgentError, match=rf"suspended\. To resume it: {re.escape(COMMAND)} agents set alice --no-suspended"
    ):
        agents.issue_token("alice", "exec", 60)
    agents.change("alice", suspended=False)
    assert agents.find(token) == agents.find_client(client.client_id).agent == Agent("alice")
    assert agents.find_pair(pair.access_key)[0].id == "alice"


@pytest.mark.parametrize(
    "change", [{"role": "two words"}, {"type": "a\nb"}, {"permissions": ("!",)}], ids=["role", "type", "permissions"]
)
def test_an_invalid_attribute_is_refused(agents, change):
    agents.add("alice", role="developer")
    with pytest.raises(AgentError, match="is not a valid"):
        agents.change("alice", **change)
    assert agents.agent("alice").role == "developer"
