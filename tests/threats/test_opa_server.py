"""THREATS R46 and R47: an OPA server decides a call only by the response to that call, and by a rule that exists.

The built-in engine needs a rule, too.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from tests.support.opa import Opa
from tests.support.policies import WHOLE
from wirekey.core.policy.engine import EmbeddedEngine
from wirekey.core.policy.modules import PolicyError
from wirekey.features.opa_server.engine import RemoteEngine
from wirekey_simulator.certificate import prepare_certificate

QUERY = "data.p.authz"
PATIENCE = 60.0
DENIED = b'{"result": {"allow": false}}'
ALLOWED = b'{"result": {"allow": true}}'


def response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Scripted:
    """A server that sends `first` to its first request and a denial to each further one."""

    def __init__(self, *first: bytes, later: bytes = b"") -> None:
        self.first, self.later = first, later
        self.requests = 0
        self.connections = 0
        self.sent_later = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(length.partition(b":")[2]))
                self.requests += 1
                if self.requests > 1:
                    writer.write(response(DENIED))
                    continue
                writer.write(b"".join(self.first))
                if self.later:
                    await writer.drain()
                    await asyncio.sleep(0.05)
                    writer.write(self.later)
                    await writer.drain()
                    self.sent_later.set()
        except asyncio.IncompleteReadError:
            writer.close()


async def decisions_of(scripted: Scripted, certificate: tuple[Path, Path] | None = None) -> list[bool]:
    """Return whether each of two calls is allowed, one after the other. `certificate`: of the server, and its CA."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate[0])
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    engine = RemoteEngine(f"{'https' if context else 'http'}://localhost:{port}", QUERY, PATIENCE)
    if certificate:
        engine._server.context.load_verify_locations(certificate[1])
    try:
        first = await engine.decide(WHOLE)
        if scripted.later:
            await asyncio.wait_for(scripted.sent_later.wait(), PATIENCE)
        second = await engine.decide(WHOLE)
        assert (first.failure, second.failure) == (None, None)
        return [first.allow, second.allow]
    finally:
        engine.close()
        server.close()


@pytest.mark.parametrize("first", [DENIED, ALLOWED])
async def test_R46_a_response_that_waits_in_an_idle_connection_does_not_decide_the_next_call(first):
    """Here the two responses arrive together, so the second waits in the reader or the parser."""
    scripted = Scripted(response(first), response(ALLOWED))
    assert await decisions_of(scripted) == [first == ALLOWED, False]
    assert scripted.connections == 2, "the connection was not used again"


@pytest.fixture(params=["http", "https"])
def certificate(request, tmp_path):
    return prepare_certificate(tmp_path) if request.param == "https" else None


async def test_R46_a_response_that_arrives_while_a_connection_is_idle_does_not_decide_the_next_call(certificate):
    scripted = Scripted(response(DENIED), later=response(ALLOWED))
    assert await decisions_of(scripted, certificate) == [False, False]
    assert scripted.connections == 2


async def test_R46_the_beginning_of_a_response_does_not_decide_the_next_call():
    waiting = response(ALLOWED)
    scripted = Scripted(response(DENIED), waiting[:20])
    assert await decisions_of(scripted) == [False, False]


async def test_R46_a_connection_of_which_nothing_is_left_is_used_again(certificate):
    scripted = Scripted(response(ALLOWED))
    assert await decisions_of(scripted, certificate) == [True, False]
    assert scripted.connections == 1


@pytest.fixture
def opa_of():
    made = []

    def make(*policies, **settings):
        made.append(Opa({f"m{i}.rego": source for i, source in enumerate(policies)}, **settings))
        return made[-1]

    yield make
    for opa in made:
        opa.stop()


NO_RULE = {
    "no rules": "package p.authz\nhelper := 1",
    "only a model": 'package p.authz\nmodel := "gpt-4o-mini"',
    "a similar name": "package p.authz\ndenied contains 1 if false\nis_allow := true",
    "a package below": "package p.authz.more\ndeny contains 1 if false",
}


@pytest.mark.parametrize("case", NO_RULE)
async def test_R47_a_server_without_a_rule_of_the_package_allows_nothing(opa_of, case, monkeypatch):
    opa = opa_of(NO_RULE[case])
    monkeypatch.setattr(opa, "document", lambda *_: {"helper": 1})
    engine = RemoteEngine(opa.url, QUERY, PATIENCE)
    for document in ({}, {"helper": 1}, {"model": "gpt-4o-mini"}, {"more": {"deny": []}}):
        opa.faults = [response(b'{"result": %b}' % str(document).replace("'", '"').encode())]
        decision = await engine.decide(WHOLE)
        assert not decision.allow
        assert "has no rule deny or allow" in decision.failure
    opa.faults = [response(b'{"result": {}}')]
    assert "no rule" in await engine.unavailable_reason(), "and Wirekey is not ready"
    engine.close()


async def test_R47_a_server_without_any_policy_allows_nothing(opa_of):
    opa = opa_of()
    engine = RemoteEngine(opa.url, QUERY, PATIENCE)
    opa.faults = [response(b'{"result": {}}')]
    assert "has no rule deny or allow" in (await engine.decide(WHOLE)).failure
    engine.close()


RULES = {
    "a complete deny rule that is undefined": ('package p.authz\ndeny if input.model == "x"', True),
    "a deny set that is empty": ('package p.authz\ndeny contains 1 if input.model == "x"', True),
    "an allow rule that is undefined": ('package p.authz\nallow if input.model == "x"', False),
    "both, undefined": ('package p.authz\nallow if input.model == "x"\ndeny if input.model == "y"', False),
    "a default allow": ("package p.authz\ndefault allow := false", False),
}


@pytest.mark.parametrize("case", RULES)
async def test_R47_a_rule_that_exists_decides_although_it_is_undefined(opa_of, case):
    policy, allows = RULES[case]
    engine = RemoteEngine(opa_of(policy).url, QUERY, PATIENCE)
    decision = await engine.decide(WHOLE | {"model": "a"})
    assert (decision.allow, decision.failure) == (allows, None)
    assert await engine.unavailable_reason() is None
    engine.close()


async def test_R47_a_rule_of_another_package_whose_name_leads_into_this_one_counts(opa_of, monkeypatch):
    """In `package p`, the rule `authz.deny` is data.p.authz.deny."""
    opa = opa_of("package p.authz\nx := 1")
    path = [{"type": "var", "value": "data"}, {"type": "string", "value": "p"}]
    ref = [{"type": "var", "value": "authz"}, {"type": "string", "value": "deny"}]
    module = {"id": "m", "ast": {"package": {"path": path}, "rules": [{"head": {"ref": ref}, "body": []}]}}
    monkeypatch.setattr(opa, "listed", lambda: [module])
    engine = RemoteEngine(opa.url, QUERY, PATIENCE)
    assert (await engine.decide(WHOLE)).allow
    engine.close()


async def test_R47_without_the_list_of_policies_only_a_default_decides(opa_of):
    engine = RemoteEngine(opa_of("package p.authz\nhelper := 1", lists_policies=False).url, QUERY, PATIENCE)
    assert (await engine.decide(WHOLE)).failure
    engine.close()


@pytest.mark.parametrize("rules", ["helper := 1", "denied contains 1 if false\nis_allow := true"])
def test_R47_the_built_in_engine_does_not_load_a_package_that_decides_nothing(tmp_path, rules):
    (tmp_path / "a.rego").write_text(f"package p.authz\n{rules}\n")
    with pytest.raises(PolicyError, match=r"data\.p\.authz has none of the rules deny, allow, model, max_tokens"):
        EmbeddedEngine(tmp_path, QUERY, PATIENCE)


@pytest.mark.parametrize("rule", ["deny if false", "allow if true", 'model := "gpt-4o-mini"', "max_tokens := 9"])
def test_R47_the_built_in_engine_loads_a_package_that_decides_something(tmp_path, rule):
    (tmp_path / "a.rego").write_text(f"package p.authz\n{rule}\n")
    EmbeddedEngine(tmp_path, QUERY, PATIENCE).close()
