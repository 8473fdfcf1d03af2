"""Addons in a chain behave as they do when each is registered with mitmproxy: same order, same guards, same results."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from mitmproxy import addonmanager, options
from mitmproxy.master import Master
from mitmproxy.proxy.layers.http import HttpRequestHook, HttpResponseHook
from mitmproxy.test import tflow

from wirekey.addons.base import LIFECYCLE, ON_ERROR, Addon
from wirekey.addons.chain import Chain
from wirekey.calls.services import Services
from wirekey.errors import Refusal
from wirekey.server import bundle
from wirekey.server.master import IndexedAddonManager


class Noting(Addon):
    """Notes each hook. `acts`: hook → what it does."""

    def __init__(self, services, name, notes, **acts):
        super().__init__(services)
        self.name, self.notes, self.acts = name, notes, acts

    def request(self, flow):
        return self.act("request", flow)

    def response(self, flow):
        return self.act("response", flow)

    def act(self, hook, flow):
        self.notes.append(f"{self.name}.{hook}")
        if act := self.acts.get(hook):
            return act(flow)
        return None


class Foreign:
    """An addon that is not Wirekey's."""

    def __init__(self, notes):
        self.notes = notes

    def request(self, flow):
        self.notes.append("foreign.request")

    def response(self, flow):
        self.notes.append("foreign.response")


async def wait(flow):
    await asyncio.sleep(0)


async def wait_and_refuse(flow):
    await asyncio.sleep(0)
    raise Refusal(403, "waited", "Refused after a wait.")


def refuse(flow):
    raise Refusal(403, "at_once", "Refused at once.")


def fail(flow):
    raise RuntimeError("a mistake")


async def wait_and_fail(flow):
    await asyncio.sleep(0)
    raise RuntimeError("a mistake")


ACTS = {
    "nothing waits": {},
    "one waits": {"request": wait, "response": wait},
    "one refuses": {"request": refuse},
    "one refuses after a wait": {"request": wait_and_refuse},
    "one fails": {"request": fail, "response": fail},
    "one fails after a wait": {"request": wait_and_fail, "response": wait_and_fail},
}


async def run(manager, acts, *, chained):
    """Run two hooks of one flow. Return the notes, and the status and code of the refusal."""
    notes, services = [], Services()
    ours = [
        Noting(services, "first", notes),
        Noting(services, "acting", notes, **acts),
        Noting(services, "last", notes),
    ]
    master = Master(options.Options())
    master.addons = manager(master)
    for number, addon in enumerate(bundle.as_registered(ours) if chained else ours):
        addon.name = getattr(addon, "name", f"chain{number}")
        master.addons.add(addon)
    master.addons.add(Foreign(notes))
    flow = tflow.tflow()
    await master.addons.handle_lifecycle(HttpRequestHook(flow))
    await master.addons.handle_lifecycle(HttpResponseHook(flow))
    state = services.calls.find(flow)
    return notes, flow.response and flow.response.status_code, state and state.call.refusal_code


@pytest.mark.parametrize("what", ACTS)
@pytest.mark.parametrize("manager", [addonmanager.AddonManager, IndexedAddonManager])
async def test_a_chain_behaves_as_its_addons_do_alone(what, manager):
    alone = await run(addonmanager.AddonManager, ACTS[what], chained=False)
    chained = await run(manager, ACTS[what], chained=True)
    assert chained == alone
    notes, status, code = alone
    assert ("last.request" in notes) == (status is None)
    assert notes[-4:] == ["first.response", "acting.response", "last.response", "foreign.response"]
    expected = {"one refuses": (403, "at_once"), "one refuses after a wait": (403, "waited")}
    failed = (503, "wirekey_error") if "fails" in what else (None, None)
    assert (status, code) == expected.get(what, failed)


async def test_no_coroutine_is_made_if_no_handler_waits():
    notes, services = [], Services()
    chain = Chain([Noting(services, "first", notes), Noting(services, "last", notes)])
    assert chain.request(tflow.tflow()) is None
    waiting = Chain([Noting(services, "first", notes, request=wait)]).request(tflow.tflow())
    assert inspect.iscoroutine(waiting)
    await waiting


async def test_the_hooks_of_the_process_run_for_all_members_even_if_one_fails():
    ended = []

    class Failing(Addon):
        async def done(self):
            raise RuntimeError("cannot stop")

    class Ending(Addon):
        def done(self):
            ended.append(self)

    services = Services()
    with pytest.raises(RuntimeError, match="cannot stop"):
        await Chain([Failing(services), Ending(services)]).done()
    assert len(ended) == 1


def test_a_member_with_a_hook_that_the_chain_would_not_run_is_rejected():
    class Configured(Addon):
        def configure(self, updated):
            pass

    with pytest.raises(TypeError, match=r"Configured\.configure"):
        Chain([Configured(Services())])


def test_the_registered_chain_has_every_hook_of_its_members():
    ours = bundle.addons_in_order(Services())
    registered = bundle.as_registered(ours)
    assert [type(each).__name__ for each in registered] == ["Lifecycle", "Chain", "Endpoints"]
    chain = registered[1]
    assert chain.members == ours[1:-1]
    for name in [*ON_ERROR, *LIFECYCLE]:
        wanted = name in ("running", "done") or any(hasattr(member, name) for member in chain.members)
        assert hasattr(chain, name) == wanted, name
