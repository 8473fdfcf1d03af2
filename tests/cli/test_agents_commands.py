"""The output of wirekey agents, which shows a token only once."""

import json
import re

import pytest
from click.testing import CliRunner

from wirekey.cli.main import group
from wirekey.core.command_name import COMMAND
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.clients import is_secret_of
from wirekey.core.identity.tokens import TOKEN

TOKEN_ANYWHERE = re.compile(TOKEN.pattern)


@pytest.fixture
def agents(tmp_path):
    return AgentStore(tmp_path / "state" / "agents.json")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wirekey.yaml").write_text("listen: {forward: 127.0.0.1:9999}\n")

    def run(*arguments, code=0):
        result = CliRunner().invoke(group, ["agents", *arguments])
        assert result.exit_code == code, result.output
        return result.stdout if code == 0 else result.stderr

    return run


def test_add_prints_the_token_and_how_to_use_it(run, agents):
    printed = run("add", "alice", "--role", "developer", "--type", "cli")
    token = TOKEN_ANYWHERE.search(printed)[0]
    assert f"export HTTPS_PROXY=http://alice:{token}@127.0.0.1:9999" in printed
    assert "certs/bundle.pem" in printed
    agent = agents.find(token)
    assert (agent.id, agent.role, agent.type) == ("alice", "developer", "cli")


def test_add_and_rotate_print_json_for_programs(run, agents):
    first = json.loads(run("add", "alice", "--json"))
    second = json.loads(run("rotate", "alice", "--overlap", "1h", "--json"))
    assert set(second) == {"agent", "token", "https_proxy"}
    assert second["https_proxy"] == f"http://alice:{second['token']}@127.0.0.1:9999"
    assert agents.find(first["token"]).id == agents.find(second["token"]).id == "alice"
    third = run("rotate", "alice")
    assert "have stopped working" in third
    agents.refresh()
    assert agents.find(second["token"]) is None


def test_list_and_show_print_everything_but_tokens_and_hashes(run):
    added = json.loads(run("add", "alice", "--role", "developer", "--json"))
    run("add", "bob")
    run("revoke", "bob")
    listed = run("list").splitlines()
    assert listed[0].split() == ["AGENT", "ROLE", "TYPE", "TOKENS", "CREATED", "STATE"]
    assert listed[1].startswith("alice  developer  -")
    assert "active" in listed[1]
    assert "revoked" in listed[2]
    shown = run("show", "alice")
    assert "when rotated" in shown
    facts = json.loads(run("show", "alice", "--json"))
    assert (facts["agent"], facts["role"], facts["tokens"][0]["expires_at"]) == ("alice", "developer", None)
    assert [agent["agent"] for agent in json.loads(run("list", "--json"))] == ["alice", "bob"]
    for printed in (shown, "\n".join(listed), json.dumps(facts)):
        assert added["token"] not in printed
        assert not re.search("[0-9a-f]{64}", printed)


def test_an_empty_list_explains_how_to_add_an_agent(run):
    assert f"{COMMAND} agents add" in run("list")
    assert json.loads(run("list", "--json")) == []


def test_revoke_invalidates_the_token(run, agents):
    token = json.loads(run("add", "alice", "--json"))["token"]
    assert "within 2 seconds" in run("revoke", "alice")
    assert json.loads(run("revoke", "alice", "--json")) == {"agent": "alice", "revoked": True}
    assert agents.find(token) is None


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "alicf"), 1, "Did you mean alice?"),
        (("revoke", "nobody"), 1, "There is no agent 'nobody'"),
        (("add", "alice"), 1, "The agent alice already exists"),
        (("add", "a b"), 1, "not a valid agent name"),
        (("rotate", "alice", "--overlap", "soon"), 2, "Write 90, 15m, 2h or 7d"),
        (("add",), 2, "NAME"),
    ],
)
def test_errors_have_a_message_and_an_exit_code(run, arguments, code, says):
    run("add", "alice")
    assert says in run(*arguments, code=code)


def test_a_broken_file_is_named_and_not_changed(run, tmp_path):
    path = tmp_path / "state" / "agents.json"
    path.parent.mkdir()
    path.write_text("{")
    assert str(path.name) in run("list", code=1)
    assert "The file was not changed" in run("add", "alice", code=1)
    assert path.read_text() == "{"


def test_add_with_oauth_client_prints_client_credentials_once_and_no_token(run, agents):
    printed = run("add", "alice", "--oauth-client", "--permission", "web:read")
    assert not TOKEN_ANYWHERE.search(printed)
    assert "http://127.0.0.1:8000/api/v1/auth/token" in printed
    client_id, secret = re.search(r"wkc_\w{22}", printed)[0], re.search(r"wks_\w{43}", printed)[0]
    client = agents.find_client(client_id)
    assert client.agent.permissions == ("web:read",)
    assert is_secret_of(client, secret)
    shown = run("show", "alice")
    assert client_id in shown
    assert re.search(r"may +web:read\n", shown)
    facts = json.loads(run("show", "alice", "--json"))
    assert (facts["permissions"], facts["clients"][0]["id"], facts["tokens"]) == (["web:read"], client_id, [])
    for text in (shown, json.dumps(facts)):
        assert secret not in text
        assert not re.search("[0-9a-f]{64}", text)


def test_rotate_with_oauth_client_prints_json_and_revokes_the_old_credentials(run, agents):
    first = json.loads(run("add", "alice", "--oauth-client", "--json"))
    second = json.loads(run("rotate", "alice", "--oauth-client", "--json"))
    assert set(second) == {"agent", "client_id", "client_secret", "token_url"}
    assert agents.find_client(first["client_id"]) is None
    assert is_secret_of(agents.find_client(second["client_id"]), second["client_secret"])
    assert "have stopped working" in run("rotate", "alice", "--oauth-client")


def test_an_invalid_permission_is_refused_with_examples_of_valid_ones(run):
    assert "web:read" in run("add", "alice", "--permission", "read all", code=1)
