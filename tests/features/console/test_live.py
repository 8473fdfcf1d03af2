"""The HTTP responses of the console page: access, host names and content."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from types import SimpleNamespace

import httpx
import pytest

from tests.support.local_endpoints import PATIENCE, asked, client, reply, serving
from wirekey.core.audit.event import NAMES
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.core.call import Agent, Call, Outcome
from wirekey.core.endpoints.readiness import ReadinessReport
from wirekey.core.endpoints.routes import health_routes
from wirekey.core.labels import checked
from wirekey.features.console import gate, operator_token
from wirekey.features.console.config import PageAccess
from wirekey.features.console.feed import Feed
from wirekey.features.console.live import LivePage
from wirekey.features.console.recorded import Recorded
from wirekey.features.console.sessions import SignInSessions

ASKED_FOR = ["/console/state", "/console/calls", "/console/totals", "/console/trees", "/console/events"]
FILES = ["/", "/console/page.css", "/console/main.js", "/console/mark.svg"]


class PageFixture:
    """A live page with its own audit file."""

    def __init__(self, folder) -> None:
        self.token = operator_token.ensure(folder).reveal()
        self.access = PageAccess()
        self.feed = Feed()
        self.audit = folder / "audit.db"
        sessions = SignInSessions(operator_token.ReloadedToken(folder))
        services = SimpleNamespace(access=lambda: self.access, state=self.state)
        self.runs = []
        self.page = LivePage(services, self.feed, sessions, Recorded(SqliteAudit(self.audit), lambda: self.runs))
        self.routes = {**health_routes(ReadinessReport), **self.page.routes()}

    async def state(self):
        return {"agents": []}

    async def record(self, *calls):
        store = AuditStore(SqliteAudit(self.audit, bound=PATIENCE))
        store.start()
        for call in calls:
            if call.outcome is None:
                await store.record_intent(call)
            else:
                store.record_final(call)
        await store.close()


@pytest.fixture
def live_page(tmp_path):
    return PageFixture(tmp_path)


@contextlib.asynccontextmanager
async def signed_in(live_page):
    async with serving(live_page.routes) as server, client(server) as http:
        response = await http.post("/console/sign-in", json={"key": live_page.token})
        assert response.status_code == 200
        yield http
        live_page.feed.close()


def called(number=0, outcome=Outcome.COMPLETED, **facts):
    values = {"agent": Agent("alice"), "provider": "openai", "model": "gpt-4o", "status": 200, "duration_ms": 5.0}
    return Call(**{**values, "outcome": outcome, "path": f"/v1/x{number}", **facts})


# Who.


@pytest.mark.parametrize("path", ASKED_FOR)
async def test_nothing_is_shown_without_a_session(live_page, path):
    async with serving(live_page.routes) as server, client(server) as http:
        response = await http.get(path)
        assert (response.status_code, response.json()["error"]) == (401, "signed_out")
        forged = await http.get(path, headers={"cookie": f"wirekey-{server.address.rpartition(':')[2]}=forged"})
        assert forged.status_code == 401


async def test_signing_in_sets_a_cookie_that_scripts_and_other_sites_cannot_read(live_page):
    async with serving(live_page.routes) as server, client(server) as http:
        response = await http.post("/console/sign-in", json={"key": f" {live_page.token}\n"})
        cookie = response.headers["set-cookie"]
        for word in ("HttpOnly", "SameSite=Strict", "Path=/console/", "Max-Age=43200"):
            assert word in cookie
        assert live_page.token not in cookie
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
async def test_a_wrong_or_cross_site_sign_in_is_refused(live_page, request_, status):
    sent = json.loads(json.dumps(request_, default=repr)) if "content" not in request_ else request_
    for part in ("json", "data"):
        if isinstance(sent.get(part), dict) and sent[part].get("key") == "TOKEN":
            sent[part]["key"] = live_page.token
    async with serving(live_page.routes) as server, client(server) as http:
        response = await http.post("/console/sign-in", **sent)
    assert response.status_code == status
    assert "set-cookie" not in response.headers
    assert live_page.token not in response.text


async def test_repeated_wrong_sign_ins_are_rate_limited(live_page):
    async with serving(live_page.routes) as server, client(server) as http:
        found = [await http.post("/console/sign-in", json={"key": "x"}) for _ in range(7)]
        assert [response.status_code for response in found] == [401] * 5 + [429] * 2
        assert int(found[-1].headers["retry-after"]) >= 1


@pytest.mark.parametrize("path", [*ASKED_FOR, *FILES])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_methods_that_change_something_are_refused(live_page, path, method):
    async with signed_in(live_page) as http:
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
def test_an_unknown_host_name_is_refused(live_page, path, host, ours):
    live_page.access = PageAccess(names=("ops.corp.example",))
    response = reply(live_page.routes, asked("GET", path, {"host": host}))
    assert getattr(response, "status", None) == (421 if not ours else 401 if path in ASKED_FOR else 200)


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_health_is_public_under_every_host_name(live_page, path):
    async with serving(live_page.routes) as server, client(server) as http:
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
def test_other_machines_see_the_page_only_if_the_configuration_allows_it(live_page, remote, host, status):
    live_page.access = PageAccess(remote=remote)
    assert reply(live_page.routes, from_elsewhere("/", host=host)).status == status


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
def test_this_machine_needs_no_sign_in_if_the_configuration_says_so(live_page, address, headers, is_in):
    live_page.access = PageAccess(sign_in="loopback", remote=True)
    response = reply(live_page.routes, from_elsewhere("/console/events", address, **headers))
    assert (getattr(response, "status", 200) == 200) == is_in


@pytest.mark.parametrize(
    ("cookies", "value"),
    [("a=1; b=2", "2"), ("b=2=3", "2=3"), ("a=b=2", None), ("", None), ("b", ""), ("ab=1;b=2", "2")],
)
def test_a_cookie_is_found_by_its_full_name(cookies, value):
    assert gate.cookie_of(asked("GET", "/", {"cookie": cookies}), "b") == value


# What.


@pytest.mark.parametrize("path", FILES)
async def test_the_files_of_the_page_have_their_type_and_security_headers(live_page, path):
    async with serving(live_page.routes) as server, client(server) as http:
        response = await http.get(path)
    assert response.status_code == 200
    types = {"/": "text/html", "css": "text/css", ".js": "text/javascript", "svg": "image/svg+xml"}
    assert response.headers["content-type"].startswith(types[path[-3:]])
    expected = {
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
    }
    assert expected.items() <= dict(response.headers).items()
    policy = response.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_page_requests_only_wirekey_and_has_no_inline_code():
    import re

    from wirekey.features.console.live import PAGE_FOLDER

    html = (PAGE_FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=\"/console/)|<style|\sstyle=|\son\w+=", html)
    for file in PAGE_FOLDER.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)


async def test_the_recent_calls_are_those_of_the_record_latest_first(live_page):
    calls = [called(number) for number in range(3)]
    await live_page.record(*calls)
    async with signed_in(live_page) as http:
        rows = (await http.get("/console/calls")).json()["rows"]
    assert [row[NAMES.index("path")] for row in rows] == ["/v1/x2", "/v1/x1", "/v1/x0"]
    assert rows[0] == [None if value is None else value for value in rows[0]]
    assert len(rows[0]) == len(NAMES)


async def test_denials_and_single_calls_are_found(live_page):
    calls = [called(0), called(1, Outcome.DENIED, policy_result="deny", policy_reason="no"), called(2)]
    await live_page.record(*calls)
    async with signed_in(live_page) as http:
        denied = (await http.get("/console/calls?denied=1")).json()["rows"]
        these = (await http.get(f"/console/calls?ids={calls[0].id},{calls[2].id},x,'")).json()["rows"]
    assert [row[0] for row in denied] == [calls[1].id]
    assert {row[0] for row in these} == {calls[0].id, calls[2].id}


async def test_without_a_record_there_are_no_calls_and_no_totals(live_page):
    async with signed_in(live_page) as http:
        assert (await http.get("/console/calls")).json()["rows"] == []
        assert (await http.get("/console/totals")).json()["readable"] is False
        assert (await http.get("/console/trees")).json()["readable"] is False
        live_page.audit.write_bytes(b"rubbish" * 1000)
        assert (await http.get("/console/calls")).json()["rows"] == []


@pytest.mark.parametrize("period", ["hour", "day", "week"])
@pytest.mark.parametrize(("by", "name"), [("agent", "alice"), ("model", "gpt-4o"), ("provider", "openai")])
async def test_totals_have_buckets_for_the_plots_and_groups_for_the_colours(live_page, period, by, name):
    await live_page.record(called(), called(1, Outcome.DENIED))
    async with signed_in(live_page) as http:
        sums = (await http.get(f"/console/totals?period={period}&by={by}")).json()
    assert sums["all"]["counts"]["calls"] == 2
    assert sums["all"]["counts"]["denials"] == 1
    assert 42 <= len(sums["buckets"]) <= 62
    (group,) = sums["groups"]
    assert (group["name"], len(group["buckets"])) == (name, len(sums["buckets"]))


async def test_concurrent_pages_share_one_computation_of_the_totals(live_page, monkeypatch):
    await live_page.record(called())
    summed = []
    real = Recorded._summed
    monkeypatch.setattr(Recorded, "_summed", lambda self, *of: summed.append(of) or real(self, *of))
    async with signed_in(live_page) as http:
        responses = await asyncio.gather(*(http.get("/console/totals?period=week") for _ in range(20)))
    assert len({response.content for response in responses}) == 1
    assert summed == [("week", "agent")]


async def test_runs_and_sessions_are_trees_whose_calls_can_be_listed(live_page):
    in_session = checked([("session", "s1"), ("sub_agent", "a1")])
    of_run = called(0, agent=Agent("alice", labels=(("run", "nightly"),)), header_labels=in_session)
    elsewhere = [called(1, header_labels=in_session), called(2, agent=Agent("bob"), header_labels=in_session)]
    await live_page.record(of_run, *elsewhere, called(3))
    live_page.runs = [{"run": "nightly", "agent": "alice", "started": "2026-01-01T00:00:00Z", "spent_usd": 0.5}]
    async with signed_in(live_page) as http:
        trees = (await http.get("/console/trees")).json()["trees"]

        async def listed(query):
            return [row[0] for row in (await http.get(f"/console/calls?{query}")).json()["rows"]]

        assert [(tree["value"], tree["agent"], tree["calls"]) for tree in trees] == [
            ("nightly", "alice", 1),
            ("s1 (unverified)", "bob", 1),
            ("s1 (unverified)", "alice", 1),
        ]
        assert trees[0]["run"] == live_page.runs[0]
        assert await listed("run=nightly") == [of_run.id]
        assert await listed("run=nightly&session=s1+(unverified)&sub_agent=a1+(unverified)") == [of_run.id]
        assert await listed("session=s1+(unverified)&agent=alice") == [elsewhere[0].id, of_run.id]
        assert await listed("run=' OR 1 --") == []


@pytest.mark.parametrize("query", ["period=year", "by=client", "by=agent_id;drop", "period=&by="])
async def test_unknown_totals_are_refused(live_page, query):
    await live_page.record(called())
    async with signed_in(live_page) as http:
        response = await http.get(f"/console/totals?{query}")
    assert response.status_code == (200 if query == "period=&by=" else 400)


async def test_the_feed_is_an_event_stream_that_ends_at_sign_out(live_page, monkeypatch):
    from wirekey.features.console import feed as feeding

    monkeypatch.setattr(feeding, "HEARTBEAT", 0.05)
    monkeypatch.setattr(feeding, "TICK", 0.01)
    async with signed_in(live_page) as http, http.stream("GET", "/console/events") as response:
        assert response.headers["content-type"] == "text/event-stream"
        lines = response.aiter_lines()
        assert [await anext(lines) for _ in range(2)][1] == "event: start"
        seen = called()
        live_page.feed.ended(seen)
        async with asyncio.timeout(PATIENCE):
            while not (line := await anext(lines)).startswith('data: {"rows":[['):
                pass
            assert json.loads(line.removeprefix("data: "))["rows"][0][0] == seen.id
            await http.post("/console/sign-out", json={})
            with contextlib.suppress(StopAsyncIteration, httpx.RemoteProtocolError):
                while True:
                    await anext(lines)
    assert live_page.feed.pages == 0


async def test_pages_above_the_limit_are_refused(live_page, monkeypatch):
    from wirekey.features.console import feed as feeding

    monkeypatch.setattr(feeding, "PAGES", 1)
    async with signed_in(live_page) as http, http.stream("GET", "/console/events"):
        response = await http.get("/console/events")
        assert (response.status_code, response.headers["retry-after"]) == (503, "10")


async def test_the_record_is_opened_read_only(live_page):
    await live_page.record(called())
    with contextlib.closing(sqlite3.connect(live_page.audit)) as database:
        before = database.execute("SELECT * FROM calls").fetchall()
    async with signed_in(live_page) as http:
        for path in ("/console/calls", "/console/calls?ids=x');DELETE FROM calls;--", "/console/totals"):
            assert (await http.get(path)).status_code == 200
    with contextlib.closing(sqlite3.connect(live_page.audit)) as database:
        assert database.execute("SELECT * FROM calls").fetchall() == before
