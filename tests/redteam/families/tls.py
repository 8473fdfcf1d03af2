"""TLS in tunnels: names that differ, other versions, sessions of other agents, and bytes that are no TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from tests.redteam.families.names import hello
from tests.redteam.ground import OPENAI, Ground, received
from tests.redteam.technique import Technique
from tests.support.raw_client import post

HELLO = hello(OPENAI)
type Change = Callable[[ssl.SSLContext], None]


def context_of(ground: Ground, change: Change = lambda _: None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ground.proxy.root)
    context.check_hostname = False
    context.set_alpn_protocols(["http/1.1"])
    change(context)
    return context


def secured(tried: str, name: str | None = OPENAI, change: Change = lambda _: None, data: bytes = post()) -> Technique:
    """Send a chat in a tunnel to OpenAI, with TLS of another kind."""

    def attack(ground: Ground) -> str:
        with ground.client() as client:
            client.connect(f"{OPENAI}:443", "alice", ground.token)
            client.socket = context_of(ground, change).wrap_socket(client.socket, server_hostname=name)
            return received(client, data)

    return Technique("TLS", tried, attack, True)


def raw(tried: str, data: bytes, host: str = OPENAI) -> Technique:
    """Send bytes in a tunnel, without TLS."""

    def attack(ground: Ground) -> str:
        with ground.client() as client:
            if (status := client.connect(f"{host}:443", "alice", ground.token).status) != 200:
                return str(status)
            return received(client, data)

    return Technique("TLS", tried, attack)


def resumed(tried: str, agent: str, host: str, *, may_arrive: bool) -> Technique:
    """Resume a session of alice in a tunnel of another agent, or to another host."""

    def attack(ground: Ground) -> str:
        context = context_of(ground, lambda each: setattr(each, "maximum_version", ssl.TLSVersion.TLSv1_2))
        with ground.client() as client:
            client.connect(f"{OPENAI}:443", "alice", ground.token)
            client.socket = context.wrap_socket(client.socket, server_hostname=OPENAI)
            session = client.socket.session
        with ground.client() as client:
            token = ground.token if agent == "alice" else ground.others.get(agent, "")
            if (status := client.connect(f"{host}:443", agent, token).status) != 200:
                return str(status)
            client.socket = context.wrap_socket(client.socket, server_hostname=OPENAI, session=session)
            return received(client, post())

    return Technique("TLS", tried, attack, may_arrive, agent=agent or "alice")


def versions(lowest: ssl.TLSVersion, highest: ssl.TLSVersion, ciphers: str = "") -> Change:
    def change(context: ssl.SSLContext) -> None:
        context.minimum_version, context.maximum_version = lowest, highest
        if ciphers:
            context.set_ciphers(ciphers)

    return change


V = ssl.TLSVersion
NAMES = (None, "api.anthropic.com", "evil.example", "API.OPENAI.COM", "openai.com", "127.0.0.1", "localhost", "a" * 60)
TECHNIQUES = [
    *(secured(f"the name {name!r} in a tunnel to OpenAI", name) for name in NAMES),
    secured("TLS 1.0", change=versions(V.TLSv1, V.TLSv1, "ALL:@SECLEVEL=0")),
    secured("TLS 1.1", change=versions(V.TLSv1_1, V.TLSv1_1, "ALL:@SECLEVEL=0")),
    secured("TLS 1.2 with CBC", change=versions(V.TLSv1_2, V.TLSv1_2, "AES128-SHA:@SECLEVEL=0")),
    secured("TLS 1.2 without a certificate", change=versions(V.TLSv1_2, V.TLSv1_2, "aNULL:eNULL:@SECLEVEL=0")),
    secured("ALPN of an unknown protocol", change=lambda context: context.set_alpn_protocols(["spdy/3"])),
    secured("no ALPN", change=lambda context: context.set_alpn_protocols([])),
    secured("Host differs from the name", data=post(host="api.anthropic.com")),
    secured("TLS in TLS", data=HELLO),
    secured("a CONNECT in TLS", data=b"CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: 127.0.0.1:443\r\n\r\n"),
    resumed("the session of alice in a tunnel of bob", "bob", OPENAI, may_arrive=True),
    resumed("the session of alice in a tunnel of nobody", "", OPENAI, may_arrive=False),
    resumed("the session of alice in a tunnel to Anthropic", "alice", "api.anthropic.com", may_arrive=False),
    raw("HTTP without TLS", post()),
    raw("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    raw("SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
    raw("SSLv2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40)),
    raw("a heartbeat", b"\x18\x03\x02\x00\x03\x01\x40\x00"),
    raw("an alert", b"\x15\x03\x01\x00\x02\x01\x00"),
    raw("data before the handshake", b"\x17\x03\x03\x00\x10" + bytes(16)),
    raw("a hello of 16 KiB", b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + bytes(16380)),
    raw("a hello that promises 16 MiB", b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380)),
    raw("a record without a byte", b"\x16\x03\x01\x00\x00" * 2000),
    raw("a hello in records of one byte", b"".join(b"\x16\x03\x01\x00\x01" + bytes([each]) for each in HELLO[5:])),
    raw("a hello for Anthropic", hello("api.anthropic.com")),
    raw("a hello for Anthropic in a tunnel elsewhere", hello("api.anthropic.com"), "public.example"),
    raw("SMTP", b"EHLO there\r\n"),
    raw("DTLS", b"\x16\xfe\xff\x00\x00\x00\x00\x00\x00\x00\x00" + bytes(40)),
]  # fmt: skip
