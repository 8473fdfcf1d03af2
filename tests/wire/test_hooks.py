"""The index of hooks runs the same handlers in the same order as mitmproxy, with the same results."""

from __future__ import annotations

import asyncio
import inspect
import logging

import pytest
from mitmproxy import exceptions, hooks, options
from mitmproxy.master import Master
from mitmproxy.proxy import server_hooks
from mitmproxy.proxy.layers.http import HttpRequestHook, HttpResponseHook
from mitmproxy.test import tflow

from wirekey.core.addons.base import Addon
from wirekey.core.calls.services import Services
from wirekey.core.errors import Refusal
from wirekey.core.wire.speed.hooks import index_of


async def run_indexed(manager, hook):
    waiting = index_of(manager).start(hook)
    if waiting is not None:
        await waiting


async def run_stock(manager, hook):
    await manager.handle_lifecycle(hook)


BOTH = pytest.mark.parametrize("run", [run_stock, run_indexed])


class Note:
    def __init__(self, name, notes, *children, **failures):
        self.name, self.notes, self.failures = name, notes, failures
        if children:
            self.addons = list(children)

    def request(self, flow):
        self.notes.append(f"{self.name}.request")
        if error := self.failures.get("request"):
            raise error

    async def response(self, flow):
        self.notes.append(f"{self.name}.response")

    def update(self, flows):
        self.notes.append(f"{self.name}.update")

    def client_connected(self, client):
        self.notes.append(f"{self.name}.client_connected")


class OnlyResponse:
    def __init__(self, notes):
        self.notes = notes

    def response(self, flow):
        self.notes.append("only.response")


def chain(notes):
    return [
        Note("first", notes, Note("child", notes), Note("second-child", notes)),
        OnlyResponse(notes),
        Note("failing", notes, Note("its-child", notes), request=ValueError("an addon's own mistake")),
        Note("halting", notes, request=exceptions.AddonHalt()),
        Note("last", notes),
    ]


def manager_with(*addons):
    master = Master(options.Options())
    master.addons.add(*addons)
    return master.addons


@BOTH
async def test_both_run_handlers_in_the_same_order(run):
    notes = []
    manager = manager_with(*chain(notes))
    flow = tflow.tflow(resp=True)
    for hook in (HttpRequestHook(flow), HttpResponseHook(flow), server_hooks.ClientConnectedHook(flow.client_conn)):
        await run(manager, hook)
    assert notes == [
        "first.request", "child.request", "second-child.request", "failing.request", "halting.request",
        "first.update", "child.update", "second-child.update", "failing.update", "its-child.update",
        "halting.update", "last.update",
        "first.response", "child.response", "second-child.response", "only.response", "failing.response",
        "its-child.response", "halting.response", "last.response",
        "first.update", "child.update", "second-child.update", "failing.update", "its-child.update",
        "halting.update", "last.update",
        "first.client_connected", "child.client_connected", "second-child.client_connected",
        "failing.client_connected", "its-child.client_connected", "halting.client_connected",
        "last.client_connected",
    ]  # fmt: skip


async def test_added_and_removed_addons_are_noticed():
    notes = []
    parent, late, child = Note("parent", notes, Note("old", notes)), Note("late", notes), Note("child", notes)
    manager = manager_with(parent)
    flow = tflow.tflow()

    async def run():
        notes.clear()
        await run_indexed(manager, HttpRequestHook(flow))
        return [note for note in notes if note.endswith("request")]

    assert await run() == ["parent.request", "old.request"]
    manager.add(late)
    assert await run() == ["parent.request", "old.request", "late.request"]
    manager.remove(late)
    manager.register(child)
    parent.addons.append(child)
    assert await run() == ["parent.request", "old.request", "child.request"]
    manager.clear()
    assert await run() == []


async def test_the_index_of_another_manager_is_not_used():
    notes = []
    first, second = manager_with(Note("first", notes)), manager_with(Note("second", notes))
    for manager in (first, second, first):
        await run_indexed(manager, HttpRequestHook(tflow.tflow()))
    assert [note for note in notes if note.endswith("request")] == ["first.request", "second.request", "first.request"]


@BOTH
async def test_a_failing_hook_is_logged(run, caplog):
    manager = manager_with(Note("failing", [], request=ValueError("an addon's own mistake")))
    with caplog.at_level(logging.ERROR):
        await run(manager, HttpRequestHook(tflow.tflow()))
    assert "an addon's own mistake" in caplog.text


def test_the_update_hook_has_the_name_that_the_index_looks_for():
    assert hooks.UpdateHook([]).name == "update"


async def test_an_intercepted_flow_waits_until_it_is_resumed():
    class Intercepting:
        def request(self, flow):
            flow.intercept()

    flow = tflow.tflow()
    running = asyncio.ensure_future(run_indexed(manager_with(Intercepting()), HttpRequestHook(flow)))
    await asyncio.sleep(0.01)
    assert not running.done()
    flow.resume()
    await asyncio.wait_for(running, 10)


# Wirekey's addons, with their guards.


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


async def run_request_and_response(run, acts):
    """Run two hooks of one flow. Return the notes, and the status and code of the refusal."""
    notes, services = [], Services()
    acting = Noting(services, "acting", notes, **acts)
    first, last = Noting(services, "first", notes), Noting(services, "last", notes)
    manager = manager_with(first, acting, last, Foreign(notes))
    flow = tflow.tflow()
    await run(manager, HttpRequestHook(flow))
    await run(manager, HttpResponseHook(flow))
    state = services.calls.find(flow)
    return notes, flow.response and flow.response.status_code, state and state.call.refusal_code


@pytest.mark.parametrize("what", ACTS)
async def test_the_guards_of_addons_have_the_same_effect(what):
    stock = await run_request_and_response(run_stock, ACTS[what])
    assert await run_request_and_response(run_indexed, ACTS[what]) == stock
    notes, status, code = stock
    assert ("last.request" in notes) == (status is None)
    assert notes[-4:] == ["first.response", "acting.response", "last.response", "foreign.response"]
    expected = {"one refuses": (403, "at_once"), "one refuses after a wait": (403, "waited")}
    failed = (503, "wirekey_error") if "fails" in what else (None, None)
    assert (status, code) == expected.get(what, failed)


async def test_no_coroutine_is_made_if_no_handler_waits():
    notes, services = [], Services()
    ours = [Noting(services, "first", notes), Noting(services, "last", notes)]
    assert index_of(manager_with(*ours)).start(HttpRequestHook(tflow.tflow())) is None
    ours[1].acts["request"] = wait
    waiting = index_of(manager_with(*ours)).start(HttpRequestHook(tflow.tflow()))
    assert inspect.iscoroutine(waiting)
    await waiting
