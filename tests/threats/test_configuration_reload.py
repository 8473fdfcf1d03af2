"""THREATS R40: a changed configuration that may not be the operator's is refused, or said loudly."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3

import pytest

from tests.endpoints.test_endpoints import configured, wirekey
from tests.support.running import wait_for
from wirekey.config import ConfigError
from wirekey.config.file_identity import FileIdentity, change

SIGN_IN = {"console": {"sign_in": "loopback"}}
EVIL = SIGN_IN | {"providers": {"openai": {"upstream_url": "https://evil.example"}}}
ROUTE = {"routes": [{"match": "gpt-*", "upstream_url": "https://evil.example:8443", "auth": "none"}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("moved")


@contextlib.asynccontextmanager
async def running_with(folder, **settings):
    """Run Wirekey so that it reloads its configuration only when the test does so."""
    async with wirekey(folder, configured(folder, **settings)) as running:
        await running.lifecycle.reloader.end()
        yield running


async def attention(running) -> list[str]:
    async with running.http() as console:
        state = (await console.get("/console/state")).json()
    return [note["what"] for note in state["attention"]]


def recorded(folder) -> list[dict]:
    with contextlib.closing(sqlite3.connect(folder / "state" / "audit.db")) as database:
        database.row_factory = sqlite3.Row
        query = "SELECT * FROM calls WHERE operation = 'configuration' ORDER BY id"
        return [dict(row) for row in database.execute(query)]


async def test_R40_a_reload_that_moves_an_upstream_is_logged_shown_and_recorded(folder, caplog):
    before = len(recorded(folder)) if (folder / "state" / "audit.db").exists() else 0
    async with running_with(folder, **SIGN_IN) as running:
        configured(folder, **EVIL)
        await running.lifecycle.reloader.reload()
        sentence = "calls of openai go to evil.example, with their keys, instead of the provider's own host"
        (logged,) = [record for record in caplog.records if "MOVED BY A RELOAD" in record.message]
        assert logged.levelname == "ERROR"
        assert sentence in logged.message
        assert f"By a reload, {sentence}." in await attention(running)

        configured(folder, **EVIL, limits={"headers": 7})
        await running.lifecycle.reloader.reload()
        assert len([record for record in caplog.records if "MOVED" in record.message]) == 1, "it moved once"
        assert f"By a reload, {sentence}." in await attention(running), "and is still there"

        configured(folder, **SIGN_IN)
        await running.lifecycle.reloader.reload()
        assert "instead of evil.example" in caplog.text, "the way back is a move, too"
        assert not [what for what in await attention(running) if "reload" in what]
    there, back = wait_for(lambda: (found := recorded(folder)[before:]) and len(found) == 2 and found, "the events")
    assert (there["provider"], there["upstream"], there["method"]) == (None, "evil.example", "RELOAD")
    assert there["policy_reason"] == f"upstream_moved: {sentence}"
    assert there["outcome"] == "completed"
    assert back["upstream"] == "the provider's own host"


async def test_R40_a_new_way_to_a_new_host_is_a_move(folder, caplog):
    async with running_with(folder) as running:
        configured(folder, **ROUTE)
        await running.lifecycle.reloader.reload()
    assert "calls of routes[0] go to evil.example:8443, with their keys, instead of nowhere" in caplog.text


async def test_R40_a_reload_that_moves_nothing_says_nothing(folder, caplog):
    async with running_with(folder, **EVIL) as running:
        configured(folder, **EVIL, limits={"headers": 7})
        await running.lifecycle.reloader.reload()
        assert running.services.settings.header_count == 7
        assert "MOVED" not in caplog.text
        assert not [what for what in await attention(running) if "reload" in what]


# Files.


def saved_by_renaming(folder, mode=0o644, **settings):
    """Write the configuration as editors do that write a new file and rename it."""
    new = folder / "wirekey.yaml.new"
    text = (folder / "wirekey.yaml").read_text()
    new.write_text(json.dumps(json.loads(text) | settings))
    new.chmod(mode)
    new.rename(folder / "wirekey.yaml")


async def refused(running, words):
    before = running.services.settings
    with pytest.raises(ConfigError, match=words) as error:
        await running.lifecycle.reloader.reload()
    assert "restart Wirekey" in str(error.value)
    assert running.services.settings is before


@pytest.fixture
def file(folder):
    """The configuration file, of mode 640 when Wirekey starts."""
    file = folder / "wirekey.yaml"
    file.unlink(missing_ok=True)
    file.touch(0o640)
    file.chmod(0o640)
    yield file
    file.unlink(missing_ok=True)


async def test_R40_an_operators_edit_is_used_in_place_and_by_a_rename(folder, file):
    async with running_with(folder) as running:
        configured(folder, limits={"headers": 7})
        await running.lifecycle.reloader.reload()
        assert running.services.settings.header_count == 7
        inode = file.stat().st_ino
        saved_by_renaming(folder, 0o640, limits={"headers": 8})
        assert file.stat().st_ino != inode
        await running.lifecycle.reloader.reload()
        assert running.services.settings.header_count == 8
        file.chmod(0o600)
        configured(folder, limits={"headers": 9})
        await running.lifecycle.reloader.reload()
        assert running.services.settings.header_count == 9, "less access is no harm"


async def test_R40_a_file_that_more_users_can_access_than_at_the_start_is_refused(folder, file):
    async with running_with(folder) as running:
        saved_by_renaming(folder, 0o644, limits={"headers": 7})
        await refused(running, r"open to more users than at the start \(mode 644, was 640\)")
        file.chmod(0o640)
        await running.lifecycle.reloader.reload()
        assert running.services.settings.header_count == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_R40_a_file_of_another_owner_is_refused(folder, file):
    async with running_with(folder) as running:
        saved_by_renaming(folder, 0o640, **EVIL)
        os.chown(file, 65534, -1)
        await refused(running, r"another owner than at the start \(user 65534, was 0\)")
        (folder / ".env").write_text("OPENAI_API_KEY=x\n")
        (folder / ".env").chmod(0o600)
        os.chown(folder / ".env", 65534, -1)
        os.chown(file, 0, -1)
        await refused(running, r"\.env: the file is new, and has another owner")
        (folder / ".env").unlink()


async def test_R40_a_file_that_has_become_a_link_is_refused(folder, file, tmp_path):
    async with running_with(folder) as running:
        elsewhere = tmp_path / "elsewhere.yaml"
        elsewhere.write_text(file.read_text())
        elsewhere.chmod(0o640)
        file.unlink()
        file.symlink_to(elsewhere)
        await refused(running, "has become a symbolic link")


def test_R40_a_link_may_lead_to_a_new_file_of_the_same_owner():
    """As in Kubernetes, where the files of a ConfigMap are links to a folder that is exchanged."""
    link = FileIdentity(0, 0o644, is_link=True, link_owner=0)
    assert change(link, FileIdentity(0, 0o644, is_link=True, link_owner=0), {0}) is None
    assert change(link, FileIdentity(0, 0o644, is_link=True, link_owner=7), {0})
    assert change(link, FileIdentity(7, 0o644, is_link=True, link_owner=0), {0})
    assert change(link, FileIdentity(0, 0o644, is_link=False, link_owner=0), {0}) is None
