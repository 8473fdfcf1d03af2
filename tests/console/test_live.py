"""The page's own answers over HTTP: who gets them, under which names, and what they hold."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from types import SimpleNamespace

import httpx
import pytest

from tests.console.conftest import PATIENCE, client, serving
from tests.console.test_router import asked
from wirekey.audit.event import NAMES
from wirekey.audit.store import AuditStore
from wirekey.call import Agent, Call, Outcome
from wirekey.config.console import ConsoleConfig
from wirekey.console import gate, operator_token
from wirekey.console.feed import Feed
from wirekey.console.live import LivePage
from wirekey.console.recorded import Recorded
from wirekey.console.router import Router
from wirekey.console.sessions import SignInSessions

ASKED_FOR = ["/console/state", "/console/calls", "/console/totals", "/console/events"]
FILES = ["/", "/console/page.css", "/console/main.js", "/console/mark.svg"]


class Office:
    """A live page with an audit file of its own."""

    def __init__(self, folder) -> None:
        self.token = operator_token.ensure(folder).reveal()
        self.settings = ConsoleConfig()
        self.feed = Feed()
        self.audit = folder / "audit.db"
        sessions = SignInSessions(operator_token.ReloadedToken(folder))
        services = SimpleNamespace(settings=lambda: self.settings, state=self.state)
        self.page = LivePage(services, self.feed, sessions, Recorded(self.audit))
        self.router = Router(lambda: None, dict, more=self.page.routes())

    async def state(self):
        return {"agents": []}

    async def record(self, *calls):
        store = AuditStore(self.audit, bound=PATIENCE)
        store.start()
        for call in calls:
            if call.outcome is None:
                await store.record_intent(call)
            else:
                store.record_final(call)
        await store.close()


@pytest.fixture
def office(tmp_path):
    return Office(tmp_path)


@contextlib.asynccontextmanager
async def signed_in(office):
    async with serving(office.router) as server, client(server) as http:
        answer = await http.post("/console/sign-in", json={"key": office.token})
        assert answer.status_code == 200
        yield http
        office.feed.close()


def called(number=0, outcome=Outcome.COMPLETED, **facts):
    values = {"agent": Agent("alice"), "provider": "openai", "model": "gpt-4o", "status": 200, "duration_ms": 5.0}
    return Call(**{**values, "outcome": outcome, "path": f"/v1/x{number}", **facts})


# Who.


@pytest.mark.parametrize("path", ASKED_FOR)
async def test_nothing_is_shown_without_signing_in(office, path):
    async with serving(office.router) as server, client(server) as http:
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["error"]) == (401, "signed_out")
        forged = await http.get(path, headers={"cookie": f"wirekey-{server.address.rpartition(':')[2]}=forged"})
        assert forged.status_code == 401


async def test_who_signs_in_gets_a_cookie_that_scripts_and_other_sites_do_not_get(office):
    async with serving(office.router) as server, client(server) as http:
        answer = await http.post("/console/sign-in", json={"key": f" {office.token}\n"})
        cookie = answer.headers["set-cookie"]
        for word in ("HttpOnly", "SameSite=Strict", "Path=/console/", "Max-Age=43200"):
            assert word in cookie
        assert office.token not in cookie
        assert (await http.get("/console/state")).status_code == 200
        await http.post("/console/sign-out", json={})
        assert (await http.get("/console/state")).status_code == 401
        # Not only the browser forgot it.
        again = await http.get("/console/state", headers={"cookie": cookie.partition(";")[0]})
        assert again.status_code == 401


NOT_SIGNED_IN = [
    ({"json": {"key": "wrong"}}, 401),
    ({"json": {"key": 5}}, 400),
    ({"json": {}}, 400),
    ({"json": []}, 400),
    ({"content": b"\xff", "headers": {"content-type": "application/json"}}, 400),
    ({"content": b"[" * 60_000, "headers": {"content-type": "application/json"}}, 400),
    ({"data": {"key": "TOKEN"}}, 415),
    ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
    ({"json": {"key": "TOKEN"}, "headers": {"origin": "http://evil.example"}}, 403),
    ({"json": {"key": "TOKEN"}, "headers": {"sec-fetch-site": "cross-site"}}, 403),
    ({"json": {"key": "TOKEN"}, "headers": {"host": "evil.example"}}, 421),
]


@pytest.mark.parametrize(("request_", "status"), NOT_SIGNED_IN)
async def test_a_sign_in_that_is_wrong_or_comes_from_elsewhere_is_refused(office, request_, status):
    sent = json.loads(json.dumps(request_, default=repr)) if "content" not in request_ else request_
    for part in ("json", "data"):
        if isinstance(sent.get(part), dict) and sent[part].get("key") == "TOKEN":
            sent[part]["key"] = office.token
    async with serving(office.router) as server, client(server) as http:
        answer = await http.post("/console/sign-in", **sent)
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers
    assert office.token not in answer.text


async def test_many_wrong_sign_ins_are_told_to_wait(office):
    async with serving(office.router) as server, client(server) as http:
        found = [await http.post("/console/sign-in", json={"key": "x"}) for _ in range(7)]
        assert [answer.status_code for answer in found] == [401] * 5 + [429] * 2
        assert int(found[-1].headers["retry-after"]) >= 1


@pytest.mark.parametrize("path", [*ASKED_FOR, *FILES])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_can_be_changed(office, path, method):
    async with signed_in(office) as http:
        assert (await http.request(method, path, json={})).status_code == 405


HOSTS = [
    ("localhost", True),
    ("LOCALHOST:8090", True),
    ("wirekey.localhost:8090", True),
    ("127.0.0.1", True),
    ("127.9.9.9:1", True),
    ("[::1]:8090", True),
    ("ops.corp.example", True),
    ("evil.example", False),
    ("127.0.0.1.evil.example", False),
    ("localhost.evil.example", False),
    ("192.0.2.7", False),
    ("", False),
    ("[::1", True),  # one reading of it, and that is ours
]


@pytest.mark.parametrize(("host", "ours"), HOSTS)
@pytest.mark.parametrize("path", [*ASKED_FOR, *FILES])
def test_under_a_strange_name_there_is_no_page(office, path, host, ours):
    office.settings = ConsoleConfig(names=("ops.corp.example",))
    answer = office.router.respond(asked("GET", path, {"host": host}))
    assert getattr(answer, "status", None) == (421 if not ours else 401 if path in ASKED_FOR else 200)


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_health_is_for_everyone_under_every_name(office, path):
    async with serving(office.router) as server, client(server) as http:
        assert (await http.get(path, headers={"host": "evil.example"})).status_code == 200


def from_elsewhere(path, address="192.0.2.7", host="192.0.2.1:8090", **headers):
    from dataclasses import replace

    return replace(asked("GET", path, {"host": host, **headers}), address=address)


@pytest.mark.parametrize(
    ("remote", "host", "status"),
    [
        (False, "192.0.2.1:8090", 403),
        (False, "localhost", 403),
        (True, "192.0.2.1:8090", 200),
        (True, "[2001:db8::1]:8090", 200),
        (True, "evil.example", 421),
    ],
)
def test_other_machines_see_the_page_only_where_the_configuration_lets_them(office, remote, host, status):
    office.settings = ConsoleConfig(remote=remote)
    assert office.router.respond(from_elsewhere("/", host=host)).status == status


@pytest.mark.parametrize(
    ("address", "headers", "is_in"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("192.0.2.7", {}, False),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.7"}, False),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.7"}, False),
        ("127.0.0.1", {"via": "1.1 proxy"}, False),
        ("127.0.0.1", {"sec-fetch-site": "same-site"}, False),
        ("127.0.0.1", {"sec-fetch-site": "cross-site"}, False),
        ("127.0.0.1", {"origin": "http://localhost:3000"}, False),
        ("127.0.0.1", {"origin": "http://192.0.2.1:8090"}, True),
    ],
)
def test_this_machine_needs_not_sign_in_where_the_configuration_says_so(office, address, headers, is_in):
    office.settings = ConsoleConfig(sign_in="loopback", remote=True)
    answer = office.router.respond(from_elsewhere("/console/events", address, **headers))
    assert (getattr(answer, "status", 200) == 200) == is_in


@pytest.mark.parametrize(
    ("cookies", "value"),
    [("a=1; b=2", "2"), ("b=2=3", "2=3"), ("a=b=2", None), ("", None), ("b", ""), ("ab=1;b=2", "2")],
)
def test_a_cookie_is_found_by_its_whole_name(cookies, value):
    assert gate.cookie_of(asked("GET", "/", {"cookie": cookies}), "b") == value


# What.


@pytest.mark.parametrize("path", FILES)
async def test_the_files_of_the_page_have_their_type_and_what_browsers_need_to_be_careful(office, path):
    async with serving(office.router) as server, client(server) as http:
        answer = await http.get(path)
    assert answer.status_code == 200
    types = {"/": "text/html", "css": "text/css", ".js": "text/javascript", "svg": "image/svg+xml"}
    assert answer.headers["content-type"].startswith(types[path[-3:]])
    expected = {
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
    }
    assert expected.items() <= dict(answer.headers).items()
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_page_asks_nobody_but_wirekey_and_has_no_inline_code():
    import re

    from wirekey.console.live import PAGE_FOLDER

    html = (PAGE_FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=\"/console/)|<style|\sstyle=|\son\w+=", html)
    for file in PAGE_FOLDER.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)


async def test_the_recent_calls_are_those_of_the_record_the_latest_first(office):
    calls = [called(number) for number in range(3)]
    await office.record(*calls)
    async with signed_in(office) as http:
        rows = (await http.get("/console/calls")).json()["rows"]
    assert [row[NAMES.index("path")] for row in rows] == ["/v1/x2", "/v1/x1", "/v1/x0"]
    assert rows[0] == [None if value is None else value for value in rows[0]]
    assert len(rows[0]) == len(NAMES)


async def test_denials_and_single_calls_are_found(office):
    calls = [called(0), called(1, Outcome.DENIED, policy_result="deny", policy_reason="no"), called(2)]
    await office.record(*calls)
    async with signed_in(office) as http:
        denied = (await http.get("/console/calls?denied=1")).json()["rows"]
        these = (await http.get(f"/console/calls?ids={calls[0].id},{calls[2].id},x,'")).json()["rows"]
    assert [row[0] for row in denied] == [calls[1].id]
    assert {row[0] for row in these} == {calls[0].id, calls[2].id}


async def test_where_there_is_no_record_there_are_no_calls_and_no_sums(office):
    async with signed_in(office) as http:
        assert (await http.get("/console/calls")).json()["rows"] == []
        assert (await http.get("/console/totals")).json()["readable"] is False
        office.audit.write_bytes(b"rubbish" * 1000)
        assert (await http.get("/console/calls")).json()["rows"] == []


@pytest.mark.parametrize("period", ["hour", "day", "week"])
@pytest.mark.parametrize(("by", "name"), [("agent", "alice"), ("model", "gpt-4o"), ("provider", "openai")])
async def test_sums_have_buckets_for_the_plots_and_groups_for_the_colours(office, period, by, name):
    await office.record(called(), called(1, Outcome.DENIED))
    async with signed_in(office) as http:
        sums = (await http.get(f"/console/totals?period={period}&by={by}")).json()
    assert sums["all"]["counts"]["calls"] == 2
    assert sums["all"]["counts"]["denials"] == 1
    assert 42 <= len(sums["buckets"]) <= 62
    (group,) = sums["groups"]
    assert (group["name"], len(group["buckets"])) == (name, len(sums["buckets"]))


async def test_however_many_pages_ask_the_record_is_summed_up_once(office, monkeypatch):
    await office.record(called())
    summed = []
    real = Recorded._summed
    monkeypatch.setattr(Recorded, "_summed", lambda self, *of: summed.append(of) or real(self, *of))
    async with signed_in(office) as http:
        answers = await asyncio.gather(*(http.get("/console/totals?period=week") for _ in range(20)))
    assert len({answer.content for answer in answers}) == 1
    assert summed == [("week", "agent")]


@pytest.mark.parametrize("query", ["period=year", "by=client", "by=agent_id;drop", "period=&by="])
async def test_other_sums_are_refused(office, query):
    await office.record(called())
    async with signed_in(office) as http:
        answer = await http.get(f"/console/totals?{query}")
    assert answer.status_code == (200 if query == "period=&by=" else 400)


async def test_the_feed_is_an_event_stream_that_ends_when_one_signs_out(office, monkeypatch):
    from wirekey.console import feed as feeding

    monkeypatch.setattr(feeding, "HEARTBEAT", 0.05)
    monkeypatch.setattr(feeding, "TICK", 0.01)
    async with signed_in(office) as http, http.stream("GET", "/console/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.aiter_lines()
        assert [await anext(lines) for _ in range(2)][1] == "event: start"
        seen = called()
        office.feed.ended(seen)
        async with asyncio.timeout(PATIENCE):
            while not (line := await anext(lines)).startswith('data: {"rows":[['):
                pass
            assert json.loads(line.removeprefix("data: "))["rows"][0][0] == seen.id
            await http.post("/console/sign-out", json={})
            with contextlib.suppress(StopAsyncIteration, httpx.RemoteProtocolError):
                while True:
                    await anext(lines)
    assert office.feed.pages == 0


async def test_more_pages_than_can_be_served_are_told_so(office, monkeypatch):
    from wirekey.console import feed as feeding

    monkeypatch.setattr(feeding, "PAGES", 1)
    async with signed_in(office) as http, http.stream("GET", "/console/events"):
        answer = await http.get("/console/events")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


async def test_the_record_is_only_read(office):
    await office.record(called())
    with contextlib.closing(sqlite3.connect(office.audit)) as database:
        before = database.execute("SELECT * FROM calls").fetchall()
    async with signed_in(office) as http:
        for path in ("/console/calls", "/console/calls?ids=x');DELETE FROM calls;--", "/console/totals"):
            assert (await http.get(path)).status_code == 200
    with contextlib.closing(sqlite3.connect(office.audit)) as database:
        assert database.execute("SELECT * FROM calls").fetchall() == before
