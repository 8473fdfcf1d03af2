"""THREATS 2.9, R28: tunnels to hosts that are no provider's are recorded, judged and limited."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.support.running import PATIENCE
from tests.threats.inside import client_hello, running_inside, until

HOST = "git.example.org"


@pytest.fixture
def inside(tmp_path, running_stage, monkeypatch):
    return lambda **configuration: running_inside(
        tmp_path / "inside", running_stage.simulator, monkeypatch, **configuration
    )


async def use(proxy, target: str, agent: str = "", token: str = "") -> tuple[int, int]:
    """Open a tunnel, send a ClientHello, read the reply, leave; (bytes sent, bytes received)."""
    status, reader, writer = await proxy.connect(target, agent, token)
    assert status == 200
    hello = client_hello(target.rpartition(":")[0])
    writer.write(hello)
    got = await asyncio.wait_for(reader.readexactly(len(proxy.host.reply)), PATIENCE)
    writer.close()
    return len(hello), len(got)


async def test_R28_a_tunnel_to_another_host_leaves_one_event(inside):
    async with inside() as proxy:
        token = proxy.agents.add("alice", role="engineer")
        sent, received = await use(proxy, f"{HOST}:443", "alice", token)
        (event,) = await proxy.ended()
    assert (event["operation"], event["action"], event["provider"]) == ("tunnel", "CONNECT", None)
    assert (event["upstream"], event["target"]) == (HOST, f"{HOST}:443")
    assert (event["agent_id"], event["agent_role"]) == ("alice", "engineer")
    assert (event["request_bytes"], event["response_bytes"]) == (sent, received)
    assert (event["policy_result"], event["outcome"], event["status"]) == ("allow", "completed", 200)
    assert event["duration_ms"] > 0
    assert not event["simulated"]


async def test_R28_the_attempt_is_recorded_before_a_byte_is_sent(inside):
    async with inside() as proxy:
        status, _, writer = await proxy.connect(f"{HOST}:443", "alice", proxy.agents.add("alice"))
        (event,) = proxy.events()
        assert (status, event["operation"], event["outcome"]) == (200, "tunnel", None)
        assert proxy.host.received == 0
        writer.close()
        (event,) = await proxy.ended()
    assert event["outcome"] == "client_cancelled"


async def test_R28_a_tunnel_that_cannot_be_recorded_is_not_opened(inside):
    async with inside() as proxy:
        token = proxy.agents.add("alice")
        proxy.services.store._down = "the disk is full"
        status, _, writer = await proxy.connect(f"{HOST}:443", "alice", token)
        proxy.services.store._down = None
        writer.close()
        assert status == 503
        assert not proxy.host.writers


async def test_R28_a_provider_tunnel_leaves_no_event_of_its_own(inside):
    async with inside() as proxy:
        status, _, writer = await proxy.connect("api.openai.com:443", "alice", proxy.agents.add("alice"))
        assert status == 200
        writer.close()
        await use(proxy, f"{HOST}:443", "bob", proxy.agents.add("bob"))
        assert [event["operation"] for event in await proxy.ended()] == ["tunnel"]


ENDINGS = {
    "git.inner.example": ("denied", "address_refused"),
    "git.unreachable.example": ("upstream_error", "upstream_unreachable"),
}


@pytest.mark.parametrize("host", ENDINGS)
@pytest.mark.parametrize("egress", [{}, {"other_hosts": "deny", "allow": ["*.example"]}], ids=["tunnel", "allowed"])
async def test_R28_a_tunnel_that_reaches_nothing_is_recorded_as_such(inside, host, egress):
    async with inside(egress=egress) as proxy:
        status, reader, writer = await proxy.connect(f"{host}:443", "alice", proxy.agents.add("alice"))
        assert status == 200
        writer.write(client_hello(host))
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()
        (event,) = await proxy.ended()
        assert not proxy.host.writers
    outcome, reason = ENDINGS[host]
    assert (event["outcome"], event["policy_reason"].partition(":")[0]) == (outcome, reason)


@pytest.mark.parametrize(
    ("first", "reason"), [(b"SSH-2.0-OpenSSH_9.9\r\n", "not_tls"), (client_hello("other.example.org"), "names_differ")]
)
async def test_R28_a_tunnel_that_was_closed_for_its_first_bytes_is_recorded_as_denied(inside, first, reason):
    async with inside() as proxy:
        _, reader, writer = await proxy.connect(f"{HOST}:443", "alice", proxy.agents.add("alice"))
        writer.write(first)
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()
        (event,) = await proxy.ended()
        assert not proxy.host.writers
    assert (event["outcome"], event["policy_result"], event["policy_reason"]) == ("denied", "deny", reason)


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("github.com", True),
        ("raw.githubusercontent.com", True),
        ("githubusercontent.com", False),
        ("evil-github.com", False),
        ("github.com.evil.example", False),
        ("example.org", False),
    ],
)
async def test_R28_egress_allow_lists_the_hosts_that_pass_when_others_are_denied(inside, host, passes):
    egress = {"other_hosts": "deny", "allow": ["github.com", "*.githubusercontent.com"]}
    async with inside(egress=egress) as proxy:
        token = proxy.agents.add("alice")
        if passes:
            await use(proxy, f"{host}:443", "alice", token)
        else:
            status, _, writer = await proxy.connect(f"{host}:443", "alice", token)
            writer.close()
            assert status == 403
        (event,) = await proxy.ended()
    assert (event["outcome"], event["agent_id"]) == ("completed" if passes else "denied", "alice")


POLICY = """package wirekey.authz

deny contains "Only git." if {
	input.operation == "tunnel"
	input.upstream != "git.example.org"
}

deny contains "Not this port." if {
	input.operation == "tunnel"
	not endswith(input.target, ":443")
}

deny contains "Not you." if {
	input.operation == "tunnel"
	input.agent.id == "bob"
}
"""


async def test_R28_the_policy_decides_on_tunnels(inside, tmp_path):
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "main.rego").write_text(POLICY)
    async with inside(policy={"path": str(policies)}) as proxy:
        alice, bob = proxy.agents.add("alice"), proxy.agents.add("bob")
        await use(proxy, f"{HOST}:443", "alice", alice)
        reached = len(proxy.host.writers)
        for host, agent, token in ((HOST, "bob", bob), ("svn.example.org", "alice", alice)):
            status, _, writer = await proxy.connect(f"{host}:443", agent, token)
            writer.close()
            assert status == 403
        assert len(proxy.host.writers) == reached
        events = await proxy.ended(3)
    assert [event["outcome"] for event in events] == ["completed", "denied", "denied"]
    assert [event["policy_reason"] for event in events[1:]] == ["policy_denied: Not you.", "policy_denied: Only git."]
    assert [event["operation"] for event in events] == ["tunnel"] * 3


MODEL_HOSTS = [
    "cloudcode-pa.googleapis.com",
    "chatgpt.com",
    "openrouter.ai",
    "codestral.mistral.ai",
    "api.groq.com",
    "api.x.ai",
    "api.deepseek.com",
    "us-central1-aiplatform.googleapis.com",
    "corp.openai.azure.com",
    "bedrock-runtime.eu-west-1.amazonaws.com",
]


@pytest.mark.parametrize("host", MODEL_HOSTS)
async def test_R28_no_known_model_host_is_a_tunnel_by_default(inside, host):
    async with inside() as proxy:
        token = proxy.agents.add("alice")
        status, reader, writer = await proxy.connect(f"{host}:443", "alice", token)
        assert status == 403
        await asyncio.wait_for(reader.readuntil(b"egress.allow"), PATIENCE)
        writer.close()
        (event,) = await proxy.ended()
        assert not proxy.host.writers
    assert (event["outcome"], event["agent_id"]) == ("denied", "alice")
    assert event["policy_reason"].partition(":")[0] == "host_refused"


async def test_R28_a_model_host_that_the_operator_allows_is_warned_about_once_per_agent(inside, caplog):
    caplog.set_level(logging.WARNING, "wirekey.core.calls.tunnels")
    async with inside(egress={"allow": MODEL_HOSTS}) as proxy:
        alice, bob = proxy.agents.add("alice"), proxy.agents.add("bob")
        for host in (*MODEL_HOSTS, HOST, *MODEL_HOSTS):
            await use(proxy, f"{host}:443", "alice", alice)
        await use(proxy, "chatgpt.com:443", "bob", bob)
        await proxy.ended(2 * len(MODEL_HOSTS) + 2)
    warned = [record.args[:2] for record in caplog.records if "they are not metered" in record.message]
    assert warned == [("alice", host) for host in MODEL_HOSTS] + [("bob", "chatgpt.com")]


async def test_R10_tunnels_of_a_revoked_agent_end_too(inside):
    async with inside() as proxy:
        alice, bob = proxy.agents.add("alice"), proxy.agents.add("bob")
        kept = []
        for name, token in (("alice", alice), ("bob", bob)):
            _, reader, writer = await proxy.connect(f"{HOST}:443", name, token)
            writer.write(client_hello(HOST))
            await asyncio.wait_for(reader.readexactly(len(proxy.host.reply)), PATIENCE)
            kept.append((reader, writer))
        proxy.agents.revoke("alice")
        reader, writer = kept[0]
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        await until(lambda: proxy.host.left == 1)
        events = await proxy.ended(1)
        found = {event["agent_id"]: (event["outcome"], event["policy_reason"]) for event in events}
        assert found == {"alice": ("interrupted", "agent_revoked"), "bob": (None, None)}
        kept[1][1].write(b"still here")
        assert await asyncio.wait_for(kept[1][0].readexactly(len(proxy.host.reply)), PATIENCE)
        for _, writer in kept:
            writer.close()
        await proxy.ended(2)


async def test_R28_tunnels_that_are_open_at_the_end_are_recorded_as_interrupted(inside):
    async with inside() as proxy:
        _, reader, writer = await proxy.connect(f"{HOST}:443", "alice", proxy.agents.add("alice"))
        writer.write(client_hello(HOST))
        await asyncio.wait_for(reader.readexactly(len(proxy.host.reply)), PATIENCE)
    (event,) = proxy.events()
    assert (event["outcome"], event["response_bytes"]) == ("interrupted", len(proxy.host.reply))
    writer.close()
