"""The remote engine: decides as the embedded one, and denies whatever an OPA server does wrong."""

import asyncio
import socket

import pytest

from tests.support.company_proxy import company_proxy
from tests.support.opa import Opa
from tests.support.policies import BEHAVRY_CALLS, BEHAVRY_QUERY, WHOLE
from wirekey.core.egress.upstream_proxy import UpstreamProxy
from wirekey.core.policy.decision import NOT_ALLOWED
from wirekey.core.policy.modules import PolicyError
from wirekey.features.opa_server.engine import KEPT, RemoteEngine

QUERY = "data.p.authz"
PATIENCE = 60.0
BOTH = 'package p.authz\ndefault allow := false\nallow if input.model == "a"\ndeny contains "tools" if input.has_tools'
PLAIN = {k: v for k, v in WHOLE.items() if k != "has_tools"}


@pytest.fixture
def opa_of():
    made = []

    def make(*policies, **settings):
        made.append(Opa({f"m{i}.rego": source for i, source in enumerate(policies)}, **settings))
        return made[-1]

    yield make
    for opa in made:
        opa.stop()


@pytest.fixture
async def engine_of():
    made = []

    def make(opa, query=QUERY, timeout=PATIENCE):
        made.append(RemoteEngine(opa if isinstance(opa, str) else opa.url, query, timeout))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def answer(body, status="200 OK", media="application/json", length=None):
    """An HTTP answer, byte for byte."""
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {size}\r\n\r\n{body}".encode()


@pytest.mark.parametrize("row", BEHAVRY_CALLS)
async def test_policies_of_other_proxies_run_unchanged(opa_of, engine_of, oracle, row):
    policy, call, allowed = row
    decision = await engine_of(opa_of(policy, oracle=oracle), BEHAVRY_QUERY).decide(call)
    assert (decision.allow, decision.failure) == (allowed, None)


async def test_it_reads_the_responses_of_opa(opa_of, engine_of, oracle):
    cap = "package p.authz\nmax_tokens := input.tool_count * 50"
    engine = engine_of(opa_of(BOTH, cap, oracle=oracle))
    decision = await engine.decide(PLAIN | {"model": "a", "tool_count": 2})
    assert (decision.allow, decision.max_tokens) == (True, 100)
    assert (await engine.decide(WHOLE | {"model": "a"})).reasons == ("tools",)
    assert (await engine.decide(PLAIN | {"model": "b"})).reasons == (NOT_ALLOWED,)


async def test_it_reads_allow_deny_and_the_revision(opa_of, engine_of):
    opa = opa_of(BOTH, provenance={"version": "1.10.0", "bundles": {"team": {"revision": "r7"}}})
    engine = engine_of(opa)
    decision = await engine.decide(PLAIN | {"model": "a"})
    assert (decision.allow, decision.revision) == (True, "opa team@r7")
    assert (await engine.decide(WHOLE | {"model": "a"})).reasons == ("tools",)
    assert not (await engine.decide(PLAIN | {"model": "b"})).allow


async def test_an_allow_rule_that_is_not_true_denies_even_without_a_default(opa_of, engine_of):
    opa = opa_of('package p.authz\nallow if input.model == "a"')
    engine = engine_of(opa)
    assert (await engine.decide(PLAIN | {"model": "a"})).allow
    decision = await engine.decide(PLAIN | {"model": "b"})
    assert (decision.allow, decision.failure) == (False, None)


async def test_without_the_list_of_policies_the_response_needs_allow(opa_of, engine_of):
    silent = engine_of(opa_of('package p.authz\ndeny if input.model == "b"', lists_policies=False))
    assert (await silent.decide(PLAIN)).failure
    with_default = engine_of(opa_of(BOTH, lists_policies=False))
    assert (await with_default.decide(PLAIN | {"model": "a"})).allow


async def test_connections_are_reused(opa_of, engine_of):
    opa = opa_of(BOTH)
    engine = engine_of(opa)
    for _ in range(20):
        assert (await engine.decide(PLAIN | {"model": "a"})).allow
    assert opa.connections == 1
    decisions = await asyncio.gather(*(engine.decide(PLAIN | {"model": "a"}) for _ in range(40)))
    assert all(decision.allow for decision in decisions)
    assert len(engine._idle) <= KEPT


async def test_P3_the_path_does_not_depend_on_the_call(opa_of, engine_of):
    opa = opa_of(BOTH)
    await engine_of(opa).decide(PLAIN | {"model": "../../v1/policies", "path": "/v1/data/other"})
    assert opa.asked == ["/v1/data/p/authz?provenance=true"]


@pytest.mark.parametrize("query", ["data", "data.a/../b", "data.a?x", "data.a b", "input.a"])
def test_P3_the_query_is_a_package_path(query):
    with pytest.raises(PolicyError, match="is not a package path"):
        RemoteEngine("http://127.0.0.1:1", query, 1.0)


ALLOW = '{"result": {"allow": true}}'
FAULTS = [
    ("a broken connection", b""),
    ("an error", answer('{"code":"internal_error"}', "500 Internal Server Error")),
    ("an error that allows", answer(ALLOW, "500 Internal Server Error")),
    ("a redirect", b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"),
    ("no content", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ("HTML", answer("<html>sign in</html>", media="text/html")),
    ("HTML that says it is JSON", answer("<html>sign in</html>")),
    ("JSON that says it is HTML", answer(ALLOW, media="text/html")),
    ("half a body", answer(ALLOW, length=500)),
    ("half a head", b"HTTP/1.1 200 OK\r\ncontent-ty"),
    ("no HTTP", b"SSH-2.0-OpenSSH_9.0\r\n"),
    ("an array", answer("[]")),
    ("nothing", answer("")),
    ("NaN", answer('{"result": {"max_tokens": NaN}}')),
    ("deep JSON", answer("[" * 100000)),
    ("too long an answer", answer('{"result": {"allow": true, "x": "%s"}}' % ("x" * 1100000))),
    ("too long a head", b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200000),
]


@pytest.mark.parametrize("fault", [row[1] for row in FAULTS], ids=[row[0] for row in FAULTS])
async def test_P2_a_failed_request_is_retried_once_and_then_denied(opa_of, engine_of, caplog, fault):
    opa = opa_of(BOTH)
    engine = engine_of(opa)
    call = PLAIN | {"model": "a"}
    opa.faults = [fault]
    assert (await engine.decide(call)).allow
    engine.close()  # so that the next attempt is a first one, on a connection of its own
    opa.faults = [fault] * 2
    decision = await engine.decide(call)
    assert not decision.allow
    assert decision.refusal().status == 503
    assert decision.failure in caplog.text
    assert not opa.faults
    assert (await engine.decide(call)).allow


@pytest.mark.parametrize(
    "document",
    [
        *("{}", '{"result": null}', '{"result": true}', '{"result": []}', '{"result": {"allow": "yes"}}'),
        *('{"result": {"deny": "x"}}', '{"result": {"allow": true, "deny": [1]}}', '{"resul": {"allow": true}}'),
    ],
)
async def test_P2_an_undefined_or_malformed_decision_denies(opa_of, engine_of, document):
    opa = opa_of(BOTH)
    opa.faults = [answer(document)] * 2
    decision = await engine_of(opa).decide(PLAIN | {"model": "a"})
    assert not decision.allow
    assert decision.failure


async def test_P2_a_missing_package_denies(opa_of, engine_of):
    decision = await engine_of(opa_of(BOTH), "data.other.authz").decide(PLAIN)
    assert "undefined" in decision.failure


async def test_P2_an_opa_that_hangs_is_denied_in_time(opa_of, engine_of):
    opa = opa_of(BOTH)
    opa.faults = [None]
    decision = await engine_of(opa, timeout=0.5).decide(PLAIN)
    assert not decision.allow
    assert "policy.timeout" in decision.failure


async def test_P2_an_opa_that_is_down_is_denied(engine_of):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    decision = await engine_of(url).decide(PLAIN)
    assert (decision.allow, decision.refusal().status) == (False, 503)


async def test_a_closed_idle_connection_is_not_a_failed_attempt(opa_of, engine_of):
    opa = opa_of(BOTH)
    engine = engine_of(opa)
    closing = answer('{"result": {"allow": true}}')
    opa.faults = [closing]
    call = PLAIN | {"model": "a"}
    assert (await engine.decide(call)).allow
    await asyncio.sleep(0.05)
    opa.faults = [b""]
    assert (await engine.decide(call)).allow


@pytest.mark.parametrize(
    ("url", "asked"), [("https://opa.invalid/x", "CONNECT opa.invalid:443 HTTP/1.1"), ("http://opa.invalid/x", None)]
)
async def test_only_a_server_with_tls_is_asked_through_a_proxy(url, asked):
    with company_proxy(("127.0.0.1", 1), answer=b"HTTP/1.1 403 Forbidden\r\n\r\n") as proxy:
        upstream = UpstreamProxy("localhost", proxy.port)
        engine = RemoteEngine(url, QUERY, PATIENCE, lambda *_: upstream)
        decision = await engine.decide(PLAIN)
    assert not decision.allow
    assert set(proxy.asked) == ({asked} if asked else set())
