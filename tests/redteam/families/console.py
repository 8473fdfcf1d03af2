"""The console's listener and Wirekey's own paths at the gateway, as a web page or a program without a sign-in."""

from __future__ import annotations

from tests.redteam.ground import Ground
from tests.redteam.technique import Technique


def asked(
    tried: str,
    first: str,
    *lines: str,
    host: str | None = "",
    body: bytes = b"",
    listener: str = "console",
    refused: bool = True,
) -> Technique:
    """Send a request. `host`: "" is that of the listener, None is none."""

    def attack(ground: Ground) -> str:
        own = getattr(ground.proxy.running, listener)
        head = [f"{first} HTTP/1.1", *([] if host is None else [f"Host: {host or own}"]), *lines, "Connection: close"]
        if body:
            head.append(f"Content-Length: {len(body)}")
        return ground.to_listener(listener, "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)

    return Technique(listener, tried, attack, refused=refused)


DATA = ("/console/state", "/console/calls", "/console/totals", "/console/trees", "/console/events")
HOSTS = (
    "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil.example", "2130706433",
    "0x7f000001", "0.0.0.0", "169.254.169.254", "localhost\tx", "a, localhost", "localhost.evil",
)  # fmt: skip
TRAVERSALS = (
    "/console/../state/agents.json", "/console/..%2fstate/agents.json", "/console/%2e%2e/%2e%2e/wirekey.yaml",
    "/console/..\\wirekey.yaml", "//etc/passwd", "/console//etc/passwd", "/console/main.js/../../gate.py",
    "/console/main.js%00.html", "/console/%00", "/console/file:///proc/self/environ", "/..;/console/state",
    "/console/..%c0%af..%c0%afetc/passwd", "/console/.git/config", "/state/audit.db", "/console/__init__.py",
    "http://127.0.0.1/console/state", "https://evil.example/console/state", "/console/state;x=.js",
    "/console/state%2ejs",
    "/CONSOLE/STATE",
    "/console/state/", "/console/state%20", "/console/state?x=main.js", "/metrics/../console/state",
)  # fmt: skip
COOKIES = (
    "wirekey=x", "session=admin", "wirekey-console=", "wirekey_session=" + "A" * 43, "__Host-wirekey=null",
    "a=b; " * 300, "wirekey=\\x00", "wirekey=' OR 1=1 --",
)  # fmt: skip
SITES = (
    ("Origin: https://evil.example",), ("Origin: null",), ("Sec-Fetch-Site: cross-site",),
    ("Sec-Fetch-Site: same-site",),
    ("Referer: https://evil.example/",), ("Origin: http://127.0.0.1.evil.example",),
)  # fmt: skip
FORWARDED = (
    "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Real-IP: 127.0.0.1", "X-Original-URL: /console/state",
    "X-Rewrite-URL: /console/state", "X-HTTP-Method-Override: GET", "X-Forwarded-Host: localhost",
    "Client-IP: 127.0.0.1",
)  # fmt: skip
FORM, JSON, PLAIN = "application/x-www-form-urlencoded", "application/json", "text/plain"
SIGN_INS = (
    (FORM, b"code=x"), (JSON, b'{"code":"x"}'), (JSON, b'{"code":null}'), (JSON, b'{"code":["x"]}'),
    (JSON, b'{"token":""}'),
    (PLAIN, b'{"code":"x"}'), (JSON, b'{"code":"' + b"x" * 100_000 + b'"}'), (JSON, b"[" * 50_000), (JSON, b"\xff\xfe"),
    (JSON, b'{"code":"x","code":"y"}'), ("multipart/form-data; boundary=x", b"--x--"),
)  # fmt: skip
GRANT = b"grant_type=client_credentials&client_id=alice&client_secret="
GRANTS = (
    (FORM, GRANT), (FORM, GRANT + b"x"), (FORM, GRANT + b"x&client_secret=y"), (FORM, GRANT + b"%00"),
    (FORM, b"grant_type=password&username=alice&password=x"), (FORM, b"grant_type=refresh_token&refresh_token=x"),
    (FORM, b"grant_type=authorization_code&code=x&redirect_uri=http://127.0.0.1:1/"),
    (FORM, b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=x"),
    (JSON, b'{"grant_type":"client_credentials","client_id":"alice","client_secret":{"$ne":null}}'),
    (JSON, b'{"grant_type":"client_credentials","client_id":"alice","client_secret":true}'),
    (PLAIN, GRANT + b"x"), (JSON, b"[" * 50_000), (FORM, b"&" * 50_000),
)  # fmt: skip
TOKEN = "POST /api/v1/auth/token"
TECHNIQUES = [
    *(asked(f"{path} without a sign-in", f"GET {path}") for path in DATA),
    *(
        asked(f"{path} as the host {host!r}", f"GET {path}", host=host)
        for host in HOSTS
        for path in ("/console/state", "/")
    ),
    asked("/console/state without a host", "GET /console/state", host=None),
    *(asked(f"{path}", f"GET {path}") for path in TRAVERSALS),
    *(asked(f"the cookie {cookie[:40]!r}", "GET /console/state", f"Cookie: {cookie}") for cookie in COOKIES),
    *(
        asked(f"{lines[0]}", "POST /console/sign-in", f"Content-Type: {JSON}", *lines, body=b'{"code":"x"}')
        for lines in SITES
    ),
    *(asked(f"{line}", "GET /console/state", line) for line in FORWARDED),
    *(
        asked(f"{method} of the state", f"{method} /console/state")
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "HEAD", "CONNECT")
    ),
    *(
        asked(f"a sign-in with {body[:40]!r}, {kind}", "POST /console/sign-in", f"Content-Type: {kind}", body=body)
        for kind, body in SIGN_INS
    ),
    asked(
        "a WebSocket",
        "GET /console/events",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ),
    asked("the operator's token of zeros", "GET /console/state", "Authorization: Bearer " + "0" * 43),
    asked("the metrics, for a key", "GET /metrics", refused=False),
    asked("the health, for a key", "GET /health", refused=False),
    asked("a path of 100,000 letters", f"GET /{'x' * 100_000}"),
    asked("an invalid length", "GET /console/state", "Content-Length: -1"),
    *(
        asked(f"a token for {body[:80]!r}, {kind}", TOKEN, f"Content-Type: {kind}", body=body, listener=listener)
        for listener in ("console", "gateway")
        for kind, body in GRANTS
    ),
    *(
        asked(f"{path} at the gateway", f"GET {path}", listener="gateway")
        for path in (*DATA, "/metrics", "/auth/login", "/auth/callback?code=x&state=y", "/options", "/flows")
    ),
    *(
        asked(
            f"a page of {site} at the gateway",
            "POST /v1/chat/completions",
            f"Origin: {site}",
            "Content-Type: text/plain",
            body=b"{}",
            listener="gateway",
        )
        for site in ("https://evil.example", "null")
    ),
]
