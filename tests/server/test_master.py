"""The indexed dispatch of hooks runs the same handlers in the same order as mitmproxy's own."""

from __future__ import annotations

import logging

import pytest
from mitmproxy import addonmanager, exceptions, hooks, options
from mitmproxy.master import Master
from mitmproxy.proxy import server_hooks
from mitmproxy.proxy.layers.http import HttpRequestHook, HttpResponseHook
from mitmproxy.test import tflow

from wirekey.server.master import IndexedAddonManager, ServeMaster


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


@pytest.mark.parametrize("manager", [addonmanager.AddonManager, IndexedAddonManager])
async def test_both_managers_run_handlers_in_the_same_order(manager):
    notes = []
    master = Master(options.Options())
    master.addons = manager(master)
    master.addons.add(*chain(notes))
    flow = tflow.tflow(resp=True)
    for hook in (HttpRequestHook(flow), HttpResponseHook(flow), server_hooks.ClientConnectedHook(flow.client_conn)):
        await master.addons.handle_lifecycle(hook)
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
    master = ServeMaster(options.Options())
    flow = tflow.tflow()
    late = Note("late", notes)
    await master.addons.handle_lifecycle(HttpRequestHook(flow))
    master.addons.add(late)
    await master.addons.handle_lifecycle(HttpRequestHook(flow))
    assert "late.request" in notes
    notes.clear()
    master.addons.remove(late)
    await master.addons.handle_lifecycle(HttpRequestHook(flow))
    assert notes == []


async def test_changed_options_reach_each_addon_once():
    seen = []

    class CallObserver:
        def configure(self, updated):
            seen.append(set(updated))

    master = ServeMaster(options.Options())
    master.addons.add(CallObserver())
    seen.clear()
    master.options.update(ssl_insecure=True)
    assert seen == [{"ssl_insecure"}]


async def test_a_failing_hook_is_logged(caplog):
    master = ServeMaster(options.Options())
    master.addons.add(Note("failing", [], request=ValueError("an addon's own mistake")))
    with caplog.at_level(logging.ERROR):
        await master.addons.trigger_event(HttpRequestHook(tflow.tflow()))
    assert "an addon's own mistake" in caplog.text


def test_the_update_hook_has_the_name_that_the_index_looks_for():
    assert hooks.UpdateHook([]).name == "update"
