"""Requests in a tunnel of alice: framing, paths, bodies and credentials."""

from __future__ import annotations

import gzip

from tests.redteam.ground import OWN_KEY
from tests.redteam.technique import Technique
from tests.support.raw_client import CHAT, post

SECOND = post(path="/v1/completions")
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(CHAT), CHAT)


def sent(family: str, tried: str, data: bytes, *, may_arrive: bool = True) -> Technique:
    return Technique(family, tried, lambda ground: ground.in_tunnel(data), may_arrive)


FRAMING_LINES = (
    ("Transfer-Encoding: chunked",), ("Transfer-Encoding: xchunked",), ("Transfer-Encoding : chunked",),
    ("Transfer-Encoding: chunked, identity",), ("Transfer-Encoding: identity, chunked",),
    ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), ("Transfer-Encoding:\tchunked",),
    ("Transfer-Encoding: \x0bchunked",), ("X: y\r\n Transfer-Encoding: chunked",), ("Transfer_Encoding: chunked",),
    ("TRANSFER-ENCODING: CHUNKED",), ('Transfer-Encoding: "chunked"',), ("Transfer-Encoding: chunked;q=1",),
    ("Transfer-Encoding: gzip, chunked",), ("Transfer-Encoding:",), ("Content-Length: 5",), ("Content-Length: 0",),
    ("Content-Length: +70",), ("Content-Length: 0x46",), ("Content-Length: 070",), ("Content-Length: 70, 70",),
    ("Content-Length: -1",), ("Content-Length: 7 0",), ("Content-Length : 5",), ("Content_Length: 5",),
    ("X: a\nTransfer-Encoding: chunked",), ("X: a\rTransfer-Encoding: chunked",), ("X: a\x00b",), ("\tX: a",),
    ("Host: evil.example",), ("Host: api.openai.com",), ("Connection: authorization",), ("Connection: host",),
    ("Connection: content-length",), ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"), ("Expect: 200-ok",),
    ("X-HTTP-Method-Override: DELETE",), ("X-Original-URL: /v1/files",), ("X-Rewrite-URL: /v1/files",),
    ("X-Forwarded-Host: evil.example",), ("Forwarded: host=evil.example",), ("X-Agent-Id: bob",),
    ("X-Wirekey-Agent: bob",), ("Max-Forwards: 0",), ("Trailer: Authorization",),
)  # fmt: skip
FRAMING = [sent("framing", f"a chat with {lines!r}", post(*lines) + SECOND) for lines in FRAMING_LINES] + [
    sent("framing", tried, post(*lines, body=body, length=False))
    for tried, lines, body in (
        ("a chunk size with an extension", ("Transfer-Encoding: chunked",), CHUNKED.replace(b"\r\n", b";x=1\r\n", 1)),
        ("a chunk size with a bare LF", ("Transfer-Encoding: chunked",), CHUNKED.replace(b"\r\n", b"\n", 1)),
        ("a chunk size with a plus", ("Transfer-Encoding: chunked",), b"+" + CHUNKED),
        ("a chunk size with 0x", ("Transfer-Encoding: chunked",), b"0x" + CHUNKED),
        ("a negative chunk size", ("Transfer-Encoding: chunked",), b"-" + CHUNKED),
        ("a chunk size of 20 digits", ("Transfer-Encoding: chunked",), b"f" * 20 + b"\r\n"),
        ("a request behind the last chunk", ("Transfer-Encoding: chunked",), CHUNKED + SECOND),
        ("a credential in the trailers", ("Transfer-Encoding: chunked",),
         CHUNKED[:-2] + f"Authorization: Bearer {OWN_KEY}\r\n\r\n".encode()),
        ("a body without a length", (), CHAT),
        ("HTTP/1.0 chunked", ("Transfer-Encoding: chunked",), b""),
    )
]  # fmt: skip
FIRST_LINES = (
    b"POST  /v1/chat/completions HTTP/1.1", b"POST /v1/chat/completions  HTTP/1.1",
    b"POST\t/v1/chat/completions HTTP/1.1",
    b" POST /v1/chat/completions HTTP/1.1", b"POST /v1/chat/completions HTTP/1.0",
    b"POST /v1/chat/completions HTTP/2.0",
    b"POST /v1/chat/completions http/1.1", b"POST /v1/chat/completions", b"post /v1/chat/completions HTTP/1.1",
    b"POST http://api.openai.com/v1/chat/completions HTTP/1.1", b"POST https://evil.example/v1/x HTTP/1.1",
    b"POST https://api.openai.com@evil.example/v1/x HTTP/1.1", b"POST //evil.example/v1/x HTTP/1.1",
    b"POST http://127.0.0.1/v1/x HTTP/1.1", b"POST * HTTP/1.1", b"CONNECT api.openai.com:443 HTTP/1.1",
    b"TRACE /v1/models HTTP/1.1", b"PRI * HTTP/2.0", b"POST /v1/chat/completions HTTP/1.1\nX: y",
    b"\x16\x03\x01 / HTTP/1.1",
)  # fmt: skip
FRAMING += [
    sent("first line", repr(line), post().replace(b"POST /v1/chat/completions HTTP/1.1", line, 1))
    for line in FIRST_LINES
]
PATHS = (
    "/v1/../v1/files", "/v1/%2e%2e/v1/files", "/v1/chat/completions/../../files", "/v1//chat/completions", "//v1/files",
    "/v1/chat%2fcompletions", "/v1/chat%5ccompletions", "/v1/chat\\completions", "/v1/chat/completions;x=1",
    "/v1/chat/completions%00", "/v1/chat/completions%0d%0aX:y", "/v1/chat/completions?model=gpt-5",
    f"/v1/chat/completions?key={OWN_KEY}", f"/v1/chat/completions?api_key={OWN_KEY}", "/v1/chat/completions#/v1/files",
    f"/v1/chat/completions?access_token={OWN_KEY}", f"/v1/chat/completions?%6bey={OWN_KEY}", "/V1/CHAT/COMPLETIONS",
    "/v1/chat/completions?$httpMethod=DELETE", "/v1/chat/completions/", "/v1/chat/completions%20", "/v1/./files",
    "/v1/organization/admin_api_keys", "/v1/organization/projects", "/v1/ch\u00e4t", "/v1/chat/completions?callback=x",
    "/%76%31/files", "/v1/chat/completions%252f..", "/v1/chat/completions?X-Amz-Signature=x", "/.well-known/x",
)  # fmt: skip
PATH = [sent("path", f"POST {path}", post(path=path)) for path in PATHS]
LOCATIONS = (
    "Authorization: Bearer {}", "Authorization: Basic {}", "authorization: bearer {}", "Proxy-Authorization: Bearer {}",
    "X-Api-Key: {}", "x_api_key: {}", "x.api.key: {}", "Api-Key: {}", "X-Goog-Api-Key: {}", "x_goog_api_key: {}",
    "Cookie: key={}", "X-Amz-Security-Token: {}", "X-OpenAI-Key: {}", "Ocp-Apim-Subscription-Key: {}",
    "Authorization: Bearer x\r\nAuthorization: Bearer {}", "Authorization: Bearer {0}, Bearer {0}", "X-Auth-Token: {}",
    "Authentication: Bearer {}", "OpenAI-Api-Key: {}", "X-Authorization: Bearer {}", "Sec-WebSocket-Protocol: {}",
    "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{}", "X-Access-Token: {}",
    "X-Goog-Iam-Authorization-Token: {}",
)  # fmt: skip
CREDENTIALS = [sent("own key", line.format("KEY"), post(line.format(OWN_KEY))) for line in LOCATIONS]
REFLECTIONS = [
    sent("reflection", f"the provider answers with {how}", post(f"X-Simulator: {how}"))
    for how in ("echo-key", "echo-key,gzip", "echo-key,br", "fail=400", "fail=401", "fail=500,gzip", "rubbish")
]
M = b'"messages":[{"role":"user","content":"hello"}]'
BODIES = (
    ("model twice", b'{"model":"gpt-4o-mini","model":"gpt-5",' + M + b"}", ()),
    ("model twice, once escaped", b'{"model":"gpt-4o-mini","mod\\u0065l":"gpt-5",' + M + b"}", ()),
    ("model with a space", b'{"model":"gpt-4o-mini","model ":"gpt-5",' + M + b"}", ()),
    ("model with a NUL", b'{"model":"gpt-4o-mini","model\\u0000":"gpt-5",' + M + b"}", ()),
    ("a model that is a list", b'{"model":["gpt-4o-mini","gpt-5"],' + M + b"}", ()),
    ("a model that is an object", b'{"model":{"a":"gpt-5"},' + M + b"}", ()),
    ("no model", b"{" + M + b"}", ()),
    ("an upper-case member", b'{"model":"gpt-4o-mini","MODEL":"gpt-5",' + M + b"}", ()),
    ("two documents", CHAT + CHAT, ()),
    ("a comment", CHAT[:-1] + b"/* */}", ()),
    ("NaN", CHAT[:-1] + b',"temperature":NaN}', ()),
    ("1e999", CHAT[:-1] + b',"temperature":1e999}', ()),
    ("a number of 5,000 digits", CHAT[:-1] + b',"seed":' + b"9" * 5000 + b"}", ()),
    ("a byte order mark", b"\xef\xbb\xbf" + CHAT, ()),
    ("UTF-16", CHAT.decode().encode("utf-16"), ()),
    ("UTF-16, declared", CHAT.decode().encode("utf-16-le"), ("Content-Type: application/json; charset=utf-16",)),
    ("half a surrogate pair", CHAT.replace(b"gpt-4o-mini", b"gpt-4o-mini\\ud800"), ()),
    ("invalid UTF-8", CHAT.replace(b"hello", b"\xff\xfe"), ()),
    ("nesting of 100,000", b"[" * 100_000, ()),
    ("nesting within a message", CHAT[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}", ()),
    ("gzip", gzip.compress(CHAT), ("Content-Encoding: gzip",)),
    ("gzip twice", gzip.compress(gzip.compress(CHAT)), ("Content-Encoding: gzip, gzip",)),
    ("two gzip members", gzip.compress(CHAT) + gzip.compress(b"x"), ("Content-Encoding: gzip",)),
    ("gzip, undeclared", gzip.compress(CHAT), ()),
    ("the codec rot13", CHAT, ("Content-Encoding: rot13",)),
    ("a form", b"model=gpt-5", ("X-Form: yes",)),
    ("an empty body", b"", ()),
    ("a control character in the model", CHAT.replace(b"gpt-4o-mini", b"gpt\\r\\nX: y"), ()),
    ("a path in the model", CHAT.replace(b"gpt-4o-mini", b"../../v1/files"), ()),
    ("a prefix in the model", CHAT.replace(b"gpt-4o-mini", b"openai/gpt-4o-mini"), ()),
    ("a model with look-alike letters", CHAT.replace(b"gpt-4o-mini", "gpt-4о-mini".encode()), ()),
    ("a model of 100,000 letters", CHAT.replace(b"gpt-4o-mini", b"g" * 100_000), ()),
    ("a body above the limit", CHAT[:-1] + b',"x":"' + b"x" * 1_200_000 + b'"}', ()),
)  # fmt: skip
BODY = [sent("body", tried, post(*lines, body=body)) for tried, body, lines in BODIES]
URL_FIELDS = (
    '"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"URL"}}]}]',
    '"messages":[{"role":"user","content":[{"type":"file","file":{"file_url":"URL"}}]}]',
    '"messages":[{"role":"user","content":"x"}],"tools":[{"type":"mcp","server_label":"x","server_url":"URL"}]',
    '"messages":[{"role":"user","content":"x"}],"webhook":{"url":"URL"}',
    '"messages":[{"role":"user","content":"x"}],"callback_url":"URL"',
)
TARGETS = (
    "http://127.0.0.1:1/",
    "http://169.254.169.254/latest/meta-data/",
    "file:///proc/1/environ",
    "http://[::1]:1/",
)
URLS = [
    sent("URL fields", f"{member.partition('URL')[0][-28:]}{url}",
         post(body=('{"model":"gpt-4o-mini",' + member.replace("URL", url) + "}").encode()))
    for member in URL_FIELDS for url in TARGETS
]  # fmt: skip
TECHNIQUES = [*FRAMING, *PATH, *CREDENTIALS, *REFLECTIONS, *BODY, *URLS]
