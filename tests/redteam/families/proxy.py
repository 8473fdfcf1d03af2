"""Requests to the proxy itself: where to, and with which token."""

from __future__ import annotations

import base64

from tests.redteam.technique import Technique

ADDRESSES = (
    "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127.0.0.1.", "169.254.169.254",
    "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16", "10.0.0.1", "192.168.0.1", "172.16.0.1", "[fe80::1%25lo]",
    "metadata.google.internal", "api.openai.com.", "API.OPENAI.COM", "api.openai.com.evil.example", "api。openai.com",
    "api.openai.com%00.evil.example", "evil@api.openai.com", "api.openai.com\\.evil.example", "xn--pi-7cc.openai.com",
    "api.openai.com:443@evil.example", "-api.openai.com", "", "a" * 300,
)  # fmt: skip


def credentials(agent: str, token: str) -> str:
    return base64.b64encode(f"{agent}:{token}".encode()).decode()


def connect(target: str) -> Technique:
    def attack(ground) -> str:
        proof = credentials("alice", ground.token)
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {proof}\r\n\r\n"
        inner = b"GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nConnection: close\r\n\r\n"
        return ground.to_proxy(head.encode() + inner)

    return Technique("destination", f"CONNECT {target[:60]}", attack)


def absolute(target: str) -> Technique:
    def attack(ground) -> str:
        proof = credentials("alice", ground.token)
        head = f"GET http://{target}/v1/models HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {proof}\r\n\r\n"
        return ground.to_proxy(head.encode())

    return Technique("destination", f"GET http://{target[:60]}/", attack)


def part(*claims: str) -> str:
    return ".".join(base64.urlsafe_b64encode(claim.encode()).decode().rstrip("=") for claim in claims)


CLAIMS = '{"sub":"alice","aud":"wirekey","exp":9999999999}'
TOKENS = (
    "", "alice", "wk_", "wk_" + "0" * 43, "null", "undefined", "*", "%", "' OR 1=1 --", "\x00", "a" * 70_000,
    part('{"alg":"none"}', CLAIMS) + ".", part('{"alg":"HS256"}', CLAIMS) + ".AAAA",
    part('{"alg":"RS256","kid":"../../../dev/null"}', CLAIMS) + ".AAAA",
    part('{"alg":"RS256","jku":"http://127.0.0.1:1/"}', CLAIMS) + ".AAAA",
    part('{"alg":"ES256"}', CLAIMS) + "." + "A" * 86, part('{"alg":"none"}', '{"sub":"alice","exp":"1e400"}') + ".",
    part('{"alg":"RS256","jwk":{"kty":"RSA","n":"AQ","e":"AQ"}}', CLAIMS) + ".AAAA",
)  # fmt: skip
SCHEMES = ("Basic {basic}", "Bearer {token}", "basic {basic}", "Basic  {basic}", "Digest {token}", "Negotiate {token}")


def wrong(token: str, scheme: str) -> Technique:
    def attack(ground) -> str:
        proof = scheme.format(basic=credentials("alice", token), token=token)
        return ground.to_proxy(
            b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\nProxy-Authorization: "
            + proof.encode()
            + b"\r\n\r\n"
        )

    return Technique("token", f"{scheme.partition(' ')[0]} with {token[:50]!r}", attack)


TECHNIQUES = [
    *(connect(f"{host}:443") for host in ADDRESSES),
    *(absolute(host) for host in ADDRESSES),
    *(connect(f"api.openai.com:{port}") for port in ("22", "80", "0", "65536", "-1", "443443", "", "https")),
    *(wrong(token, scheme) for token in TOKENS for scheme in SCHEMES[:2]),
    *(wrong("wk_" + "1" * 43, scheme) for scheme in SCHEMES[2:]),
]
