"""THREATS 2.9, R16: files that other users may read or change, and symbolic links in the state folder."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.support.running import wait_for
from tests.support.serving import PLAIN, refused_start, serving, wirekey, write_configuration
from wirekey.core.ca.authority import CAError, load
from wirekey.core.identity.agents import AgentStore

KEY = "sk-key-of-the-file-4d5e6f7a"
CONFIGURATION = {
    **PLAIN,
    "state": "state",
    "certs": "certs",
    "policy": {"path": "policies"},
    "providers": {"openai": {"keys": ["file:key.txt", "env:SECOND"]}},
}
POLICY = "package wirekey.authz\nimport rego.v1\ndefault allow := true\n"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path):
    """A folder with a configuration that nobody else may read or change."""
    (tmp_path / "policies").mkdir(mode=0o700)
    files = {"key.txt": KEY, ".env": "SECOND=sk-second-of-dotenv-88\n", "policies/main.rego": POLICY}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    write_configuration(tmp_path, CONFIGURATION)
    for name in (*files, "wirekey.yaml"):
        (tmp_path / name).chmod(0o600)
    return tmp_path


def doctor(folder: Path) -> dict[str, list[dict]]:
    """The doctor's findings about files and state, by level."""
    said = wirekey(folder, "doctor", "--only", "files", "--only", "state", "--json")
    findings: dict[str, list[dict]] = {}
    for finding in json.loads(said.stdout)["findings"]:
        findings.setdefault(finding["level"], []).append(finding)
    assert said.returncode == (1 if "wrong" in findings else 0)
    return findings


@pytest.mark.parametrize("mode", [0o602, 0o666])
@pytest.mark.parametrize("name", ["wirekey.yaml", ".env", "key.txt", "policies/main.rego"])
def test_R16_nothing_starts_with_a_file_that_others_may_change(folder, name, mode):
    assert wirekey(folder, "config", "check").returncode == 0
    (folder / name).chmod(mode)
    said = refused_start(folder, json.loads((folder / "wirekey.yaml").read_text()))
    checked = wirekey(folder, "config", "check")
    assert checked.returncode == 1
    (finding,) = doctor(folder)["wrong"]
    for sentence in (said, checked.stderr, finding["message"]):
        assert f"{folder / name}: " in sentence
        assert "chmod " in sentence
        assert KEY not in sentence


def test_R16_nothing_starts_where_others_may_replace_a_file(folder):
    folder.chmod(0o777)
    assert f"chmod go-w {folder}" in refused_start(folder, CONFIGURATION)
    folder.chmod(0o1777)
    assert wirekey(folder, "config", "check").returncode == 0


@pytest.mark.parametrize("name", [".env", "key.txt"])
def test_R16_a_secret_that_others_may_read_gets_a_warning(folder, name):
    (folder / name).chmod(0o644)
    checked = wirekey(folder, "config", "check")
    assert checked.returncode == 0
    assert f"chmod 600 {folder / name}" in checked.stderr
    (warning,) = json.loads(wirekey(folder, "config", "check", "--json").stdout)["warnings"]
    assert warning["file"] == str(folder / name)
    assert f"chmod 600 {folder / name}" in doctor(folder)["warning"][0]["message"]
    with serving(folder, CONFIGURATION) as running:
        assert f"chmod 600 {folder / name}" in running.output.read_text()


def test_R16_a_configuration_that_becomes_writable_is_not_reloaded(folder):
    with serving(folder, CONFIGURATION) as running:
        (folder / "wirekey.yaml").chmod(0o666)
        wait_for(lambda: "chmod go-w" in running.output.read_text(), "the changed mode to be refused")
        assert "the previous one stays in use" in running.output.read_text()


def test_R16_the_state_folder_becomes_private_to_its_user(folder):
    state = folder / "state"
    state.mkdir()
    state.chmod(0o755)
    (warning,) = doctor(folder)["warning"]
    assert f"chmod 700 {state}" in warning["message"]
    with serving(folder, CONFIGURATION) as running:
        running.add_agent("alice")
        wait_for((state / "audit.db").exists, "the audit file")
        assert mode_of(state) == 0o700
        for path in state.rglob("*"):
            assert not mode_of(path) & 0o077 or path.name.endswith("-ca.pem"), path
        assert "mode 755" in running.output.read_text()
        key = folder / "certs" / "mitmproxy-ca.pem"
        assert (mode_of(folder / "certs"), mode_of(key)) == (0o700, 0o600)


@pytest.mark.parametrize("name", ["", "agents.json", "console-token"])
def test_R16_nothing_starts_on_a_state_that_others_may_change(folder, name):
    state = folder / "state"
    state.mkdir(mode=0o700)
    path = state / name
    if name:
        path.touch()
    path.chmod(0o777)
    assert f"chmod {'600' if name else '700'} {path}" in refused_start(folder, CONFIGURATION)
    (finding,) = doctor(folder)["wrong"]
    assert str(path) in finding["message"]


STATE_FILES = ["agents.json", "audit.db", "audit.db-wal", "console-token", "jwt-keys.json", "aws-master.key",
               "wirekey.lock", "running.json", "upstream-roots.pem", "tmp", "agents.json.lock"]  # fmt: skip


@pytest.mark.parametrize("name", STATE_FILES)
def test_R16_no_symbolic_link_of_the_state_folder_is_followed(folder, name, tmp_path):
    state, victim = folder / "state", tmp_path / "victim"
    state.mkdir(mode=0o700)
    victim.mkdir() if name == "tmp" else victim.write_bytes(b"precious")
    (state / name).symlink_to(victim)
    assert f"{state / name} is a symbolic link" in refused_start(folder, CONFIGURATION)
    assert str(state / name) in doctor(folder)["wrong"][0]["message"]
    for command in (["agents", "add", "eve"], ["agents", "list"], ["audit", "list"], ["env"]):
        said = wirekey(folder, *command)
        assert "Traceback" not in said.stderr
    assert victim.is_dir() or victim.read_bytes() == b"precious"
    assert not list(victim.iterdir()) if victim.is_dir() else True


@pytest.mark.parametrize("name", ["agents.json", "agents.json.lock", "audit.db"])
def test_R16_a_command_refuses_a_link_in_place_of_its_file(folder, name, tmp_path):
    """Without the look at the whole folder that `serve` begins with."""
    state, victim = folder / "state", tmp_path / "victim"
    state.mkdir(mode=0o700)
    agents = AgentStore(state / "agents.json")
    agents.add("alice")
    victim.write_bytes((state / "agents.json").read_bytes())
    (state / name).unlink(missing_ok=True)
    (state / name).symlink_to(victim)
    command = ["audit", "list"] if name == "audit.db" else ["agents", "add", "eve"]
    said = wirekey(folder, *command)
    assert said.returncode != 0
    assert "Traceback" not in said.stderr
    assert b"eve" not in victim.read_bytes()


def test_R16_the_key_of_the_ca_is_not_read_through_a_link_out_of_its_folder(folder, tmp_path):
    with serving(folder, CONFIGURATION):
        pass
    key = folder / "certs" / "mitmproxy-ca.pem"
    inside = folder / "certs" / "mounted"
    inside.mkdir()
    key.rename(inside / "key.pem")
    key.symlink_to("mounted/key.pem")
    assert load(folder / "certs")
    (inside / "key.pem").rename(tmp_path / "elsewhere.pem")
    key.unlink()
    key.symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(CAError, match="symbolic link"):
        load(folder / "certs")
    assert "symbolic link" in refused_start(folder, CONFIGURATION)
