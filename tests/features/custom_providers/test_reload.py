"""THREATS R40: a custom provider that a reload adds is a new way to a new host."""

from __future__ import annotations

from tests.endpoints.test_endpoints import configured
from tests.threats.test_configuration_reload import running_with

CUSTOM = {"providers": {"custom": [{"name": "mine", "hosts": ["llm.corp.example"], "keys": ["env:NO_KEY"]}]}}


async def test_R40_a_new_custom_provider_is_a_move(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("NO_KEY", "a-key-of-a-test")
    async with running_with(tmp_path) as running:
        configured(tmp_path, **CUSTOM)
        await running.lifecycle.reloader.reload()
    assert "calls of mine go to llm.corp.example, with their keys, instead of nowhere" in caplog.text
