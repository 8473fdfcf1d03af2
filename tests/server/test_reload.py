"""A changed configuration is applied as a whole or not at all, and calls continue during the reload."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import subprocess

import pytest

from tests.endpoints.test_endpoints import PATIENCE, configured, wirekey
from tests.support.policies import WHOLE, write
from wirekey.config import ConfigError
from wirekey.core.identity.installation_keys import REASONING_STATE
from wirekey.core.metering.cost import current_prices
from wirekey.core.metering.own_prices import OwnPrices, use_own_prices
from wirekey.core.policy import worker
from wirekey.core.policy.modules import PolicyError
from wirekey.features.jwt.issuers import IssuerError
from wirekey.features.jwt.service import TokenService
from wirekey.providers.registry import PROVIDERS

QUERY = "data.p.authz"
LISTS = "package p.authz\ndeny contains t if { some t in input.tools; some u in input.tools; t == u }\n"
"""Evaluated by a child process, as it has nested loops."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("house")


@pytest.fixture
def children(monkeypatch):
    """The policy worker processes, in the order of their start."""
    started = []

    class Started(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(worker.subprocess, "Popen", Started)
    return started


def policy(folder, name, text):
    return {"path": str(write(folder / name, a=text)), "query": QUERY, "timeout": PATIENCE}


@contextlib.asynccontextmanager
async def without_reloader(folder, config):
    """Run Wirekey so that it reloads its configuration only when the test does so."""
    async with wirekey(folder, config) as running:
        await running.lifecycle.reloader.end()
        yield running


def in_use(running):
    services, lifecycle = running.services, running.lifecycle
    return (
        services.settings,
        services.policy,
        services.opened,
        lifecycle.config,
    )


BAD = [
    ("bad_issuer", IssuerError),
    ("bad_secret", ConfigError),
    ("bad_policy", PolicyError),
    ("weak_master", ConfigError),
]


def secret(folder, name, text):
    file = folder / name
    file.write_text(text)
    file.chmod(0o600)
    return file


def bad(folder, name):
    changed = {"policy": policy(folder, "changed", LISTS.replace("contains t", 'contains "changed"'))}
    if name == "bad_issuer":
        (folder / "key.pem").write_text("no key")
        issuer = {"issuer": "https://id.example/", "key": str(folder / "key.pem"), "audience": "x"}
        return changed | {"identity": {"jwt": {"issuers": [issuer]}}}
    if name == "bad_secret":
        return changed | {"providers": {"openai": {"keys": ["env:NO_SUCH_KEY"]}}}
    if name == "weak_master":
        return changed | {"secrets": {"master": f"file:{secret(folder, 'weak', '00' * 32)}"}}
    if name == "bad_policy":
        return {"policy": policy(folder, "broken", "package p.authz\ndeny if {")}
    raise ValueError(name)


@pytest.mark.parametrize(("name", "error"), BAD)
async def test_a_configuration_with_one_bad_part_changes_nothing(folder, children, name, error):
    good = {"policy": policy(folder, "good", LISTS)}
    async with without_reloader(folder, configured(folder, **good)) as running:
        configured(folder, limits={"headers": 7}, **good)
        await running.lifecycle.reloader.reload()
        assert running.services.settings.header_count == 7
        before, alive = in_use(running), [each for each in children if each.poll() is None]

        configured(folder, limits={"headers": 8}, **bad(folder, name))
        with pytest.raises(error):
            await running.lifecycle.reloader.reload()
        assert all(one is another for one, another in zip(before, in_use(running), strict=True))
        assert [each for each in children if each.poll() is None] == alive
        decision = await running.services.policy.decide(WHOLE | {"tools": ["x"]})
        assert decision.reasons == ("x",)

        configured(folder, limits={"headers": 9}, **good)
        await running.lifecycle.reloader.reload()
        assert running.services.settings.header_count == 9
    assert not any(each.poll() is None for each in children)


async def test_a_changed_master_secret_is_reported_and_not_used_before_a_restart(folder, caplog):
    first, second = secrets.token_hex(32), secrets.token_hex(32)
    settings = {"secrets": {"master": f"file:{secret(folder, 'master', first)}"}, "state": str(folder / "shared")}
    async with without_reloader(folder, configured(folder, **settings)) as running:
        keys = running.services.agents.derived_keys(REASONING_STATE)
        endpoint = running.services.opened.find(TokenService).endpoint
        await running.lifecycle.reloader.reload()
        assert "after a restart" not in caplog.text
        before = running.lifecycle.config.fingerprint()
        secret(folder, "master", second)
        assert running.lifecycle.config.fingerprint() != before, "a new value of the secret is noticed"
        await running.lifecycle.reloader.reload()
        assert "take effect only after a restart: secrets" in caplog.text
        assert first not in caplog.text
        assert second not in caplog.text
        assert running.services.agents.derived_keys(REASONING_STATE) == keys
        assert running.services.opened.find(TokenService).endpoint is endpoint


async def test_the_previous_policy_still_decides_pending_calls(folder, children):
    async with without_reloader(folder, configured(folder, policy=policy(folder, "former", LISTS))) as running:
        previous = running.services.policy
        asked = asyncio.gather(*(previous.decide(WHOLE | {"tools": [f"tool {number}"]}) for number in range(50)))
        configured(folder, policy=policy(folder, "latter", LISTS + "# another\n"))
        await asyncio.sleep(0)
        await running.lifecycle.reloader.reload()
        assert running.services.policy is not previous
        for number, decision in enumerate(await asked):
            assert decision.reasons == (f"tool {number}",)
        # A second child of the former's may only just be starting.
        async with asyncio.timeout(PATIENCE):
            while len([each for each in children if each.poll() is None]) != 1:
                await asyncio.sleep(0.01)


async def test_the_event_loop_continues_while_a_new_policy_is_tried(folder, monkeypatch):
    begun, may_end = asyncio.Event(), asyncio.Event()
    from wirekey.server import reload

    make = reload.start_policy_engine

    async def slowly(config, proxy_for):
        begun.set()
        await may_end.wait()
        return await make(config, proxy_for)

    monkeypatch.setattr(reload, "start_policy_engine", slowly)
    monkeypatch.setattr(reload, "REFRESH_SECONDS", 0.01)
    async with wirekey(folder, configured(folder)) as running, asyncio.timeout(PATIENCE):
        agents = running.services.agents
        token = agents.add("leaving")
        assert agents.find(token)
        configured(folder, policy=policy(folder, "slow", LISTS))
        await begun.wait()
        type(agents)(folder / "state" / "agents.json").revoke("leaving")
        while agents.find(token):
            await asyncio.sleep(0.01)
        may_end.set()
        while "some u" not in str(running.services.policy._loaded.modules.rego):
            await asyncio.sleep(0.01)


async def test_a_stop_while_a_new_policy_is_tried_leaves_no_process(folder, children):
    async with without_reloader(folder, configured(folder, policy=policy(folder, "first", LISTS))) as running:
        configured(folder, policy=policy(folder, "second", LISTS + "# another\n"))
        count = len(children)
        reloading = asyncio.create_task(running.lifecycle.reloader.reload())
        async with asyncio.timeout(PATIENCE):
            while len(children) == count:
                await asyncio.sleep(0)
        reloading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reloading
        async with asyncio.timeout(PATIENCE):
            while len([each for each in children if each.poll() is None]) != 1:
                await asyncio.sleep(0.01)


async def test_a_file_that_changes_while_it_is_read_is_reloaded(folder, monkeypatch):
    from wirekey.server import reload

    async with without_reloader(folder, configured(folder)) as running:
        load, changes = reload.configuration.load, iter([1, 2])

        def load_and_change(*arguments):
            config = load(*arguments)
            if number := next(changes, None):
                configured(folder, limits={"headers": 40 + number})
            return config

        monkeypatch.setattr(reload.configuration, "load", load_and_change)
        await running.lifecycle.reloader.reload()
        await running.lifecycle.reloader._reload_configuration()
        assert running.services.settings.header_count == 42


async def test_own_prices_are_in_force_after_a_reload_and_only_if_all_of_it_is_good(folder):
    good = {"policy": policy(folder, "good", LISTS)}
    (folder / "prices.yaml").write_text("models:\n  - {match: gpt-9, input: 1, output: 2}\n")
    try:
        async with without_reloader(folder, configured(folder, prices={"file": "prices.yaml"}, **good)) as running:
            assert current_prices(PROVIDERS["openai"], "gpt-9").input.base == 1
            before = running.lifecycle.config.fingerprint()
            (folder / "prices.yaml").write_text("models:\n  - {match: gpt-9, input: 30, output: 2}\n")
            assert running.lifecycle.config.fingerprint() != before
            configured(folder, prices={"file": "prices.yaml"}, **bad(folder, "bad_policy"))
            with pytest.raises(PolicyError):
                await running.lifecycle.reloader.reload()
            assert current_prices(PROVIDERS["openai"], "gpt-9").input.base == 1
            configured(folder, prices={"file": "prices.yaml"}, **good)
            await running.lifecycle.reloader.reload()
            assert current_prices(PROVIDERS["openai"], "gpt-9").input.base == 30
    finally:
        use_own_prices(OwnPrices())
