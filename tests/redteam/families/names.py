"""Names that lead to addresses where no connection may be made. A resolver of the test answers; a trap counts dials."""

from __future__ import annotations

import ssl
from contextlib import suppress

from tests.redteam.families.proxy import credentials
from tests.redteam.ground import Ground
from tests.redteam.listeners import ANSWERS
from tests.redteam.technique import NAMESPACE, Technique
from tests.support.raw_client import post


def hello(name: str) -> bytes:
    """Return the first bytes of a client of TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def tunnel(label: str, times: int) -> Technique:
    name = f"{label}.names.example"

    def attack(ground: Ground) -> str:
        proof = credentials("alice", ground.token)
        head = f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\nProxy-Authorization: Basic {proof}\r\n\r\n"
        texts = [ground.to_proxy(head.encode() + hello(name)) for _ in range(times)]
        dialled = ", ".join(ground.trap.dials) or "nothing"
        return "\r\n".join([f"{texts[-1].partition(chr(13))[0]}; dialled: {dialled}", *texts])

    return Technique("names", f"{times} tunnels to a name: {label}", attack, needs=NAMESPACE)


def plain(label: str) -> Technique:
    def attack(ground: Ground) -> str:
        proof = credentials("alice", ground.token)
        place = f"{label}.names.example"
        head = f"GET http://{place}/ HTTP/1.1\r\nHost: {place}\r\nProxy-Authorization: Basic {proof}\r\n\r\n"
        return ground.to_proxy(head.encode())

    return Technique("names", f"GET http:// of a name: {label}", attack, needs=NAMESPACE)


def in_body(label: str) -> Technique:
    url = f"https://{label}.names.example/x.png"
    image = b'{"type":"image_url","image_url":{"url":"%s"}}'
    body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":[' + image + b"]}]}"
    return Technique(
        "names",
        f"a name in a body: {label}",
        lambda ground: ground.in_tunnel(post(body=body % url.encode())),
        True,
        needs=NAMESPACE,
    )


TECHNIQUES = [
    *(tunnel(label, 1 if len(ANSWERS[label]) == 1 else 5) for label in ANSWERS),
    *map(plain, ANSWERS),
    *map(in_body, ("loopback", "metadata", "public")),
]
