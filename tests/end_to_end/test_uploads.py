"""Uploads pass without being held, and a Gemini upload belongs to the agent that started it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from tests.support.running import PROVIDER_KEYS, wait_for
from tests.support.sdk_calls import Way, gemini_client, openai_client
from tests.support.stream_formats import HOSTS, PLACEHOLDERS, RawWay
from wirekey.core.call import new_call_id

GEMINI = HOSTS["gemini"]
START = {
    "x-goog-upload-protocol": "resumable",
    "x-goog-upload-command": "start",
    "x-goog-upload-header-content-type": "text/plain",
}
LAST_BYTES = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
CONTENT = b"forty-two bytes of an upload, counted well"
MIB = 1 << 20
LARGE = 64 * MIB


@pytest.fixture(scope="module")
def bob(proxy) -> str:
    return proxy.add_agent("bob")


@pytest.fixture
def began() -> str:
    return new_call_id()


def way_of(proxy, agent="", token="") -> RawWay:
    """Return a client that identifies itself at CONNECT, or not at all."""
    return RawWay(proxy.root, proxy=proxy.proxy_url(agent, token) if token else f"http://{proxy.running.forward}")


def begin(way: RawWay, token: str = "no-key-at-all") -> str:
    """Start an upload and return the URL for its bytes."""
    response = way.call(
        "gemini", "POST", "/upload/v1beta/files", headers={**START, "x-goog-api-key": token}, content=b""
    )
    assert response.status_code == 200, response.text
    return response.headers["x-goog-upload-url"]


def go_on(way: RawWay, url: str, method: str = "POST", **headers):
    return way.client.request(method, url, headers={**LAST_BYTES, **headers}, content=CONTENT)


def credentials_in(arrived) -> list[bytes]:
    return [value for name, value in arrived.headers if name.lower() in (b"authorization", b"x-goog-api-key")]


# Gemini's resumable upload.


def test_the_google_sdk_uploads_a_file(simulator, through, began, tmp_path):
    file = tmp_path / "canary.txt"
    file.write_bytes(CONTENT)
    client = gemini_client(Way(through.certs / "bundle.pem", PLACEHOLDERS))
    uploaded = client.files.upload(file=file)
    assert uploaded.size_bytes == len(CONTENT)
    assert base64.b64decode(uploaded.sha256_hash).decode() == hashlib.sha256(CONTENT).hexdigest()
    first, second = simulator.seen
    assert credentials_in(first) == [PROVIDER_KEYS["gemini"].encode()]
    assert credentials_in(second) == []
    events = through.finished_events(2, began)
    assert [event["operation"] for event in events] == ["upload", "upload"]
    assert [event["agent_id"] for event in events] == ["alice", "alice"]
    assert [event["credential"] for event in events] == ["gemini/1", "upload"]
    assert [event["outcome"] for event in events] == ["completed", "completed"]


def test_with_the_token_in_place_of_the_key_the_second_request_has_the_same_agent(
    simulator, proxy, began, monkeypatch, tmp_path
):
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.running.forward}")
    file = tmp_path / "canary.txt"
    file.write_bytes(CONTENT)
    client = gemini_client(Way(proxy.certs / "bundle.pem", dict.fromkeys(PROVIDER_KEYS, proxy.token)))
    assert client.files.upload(file=file).size_bytes == len(CONTENT)
    assert credentials_in(simulator.seen[1]) == []
    assert [event["agent_id"] for event in proxy.finished_events(2, began)] == ["alice", "alice"]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_the_url_leads_through_wirekey_and_works_on_another_connection(method, simulator, proxy, began):
    url = begin(way_of(proxy), proxy.token)
    assert url.startswith(f"https://{GEMINI}/upload/v1beta/files?upload_id=")
    assert go_on(way_of(proxy), url, method).status_code == 200
    assert [event["agent_id"] for event in proxy.finished_events(2, began)] == ["alice", "alice"]
    assert credentials_in(simulator.seen[1]) == []


def test_another_agents_tunnel_cannot_use_an_upload(simulator, proxy, bob, began):
    url = begin(way_of(proxy, "alice", proxy.token))
    simulator.forget()
    response = go_on(way_of(proxy, "bob", bob), url)
    assert response.status_code == 403
    assert response.json()["error"]["details"][0]["reason"] == "UPLOAD_OF_ANOTHER_AGENT"
    assert not simulator.seen
    event = proxy.finished_events(2, began)[-1]
    assert (event["agent_id"], event["outcome"]) == ("bob", "denied")
    assert go_on(way_of(proxy, "alice", proxy.token), url).status_code == 200


def test_another_agents_token_in_place_of_the_key_cannot_use_an_upload(simulator, proxy, bob):
    url = begin(way_of(proxy, "alice", proxy.token))
    simulator.forget()
    assert go_on(way_of(proxy), url, **{"x-goog-api-key": bob}).status_code == 403
    assert not simulator.seen


@pytest.mark.parametrize("spelling", ["upload_id=foreign", "upload%5Fid=foreign", "Upload_Id=foreign&alt=json"])
def test_an_upload_started_elsewhere_is_refused(spelling, simulator, proxy):
    """It could belong to another account, and no key of Wirekey may be sent there."""
    url = f"https://{GEMINI}/upload/v1beta/files?{spelling}"
    assert go_on(way_of(proxy, "alice", proxy.token), url).status_code == 403
    assert go_on(way_of(proxy), url).status_code == 401
    assert not simulator.seen


def test_two_upload_ids_are_refused(simulator, proxy):
    way = way_of(proxy, "alice", proxy.token)
    url = begin(way)
    simulator.forget()
    assert go_on(way, f"{url}&upload_id=other").status_code == 400
    assert not simulator.seen


def test_the_upload_of_a_revoked_agent_is_refused(simulator, proxy):
    token = proxy.add_agent("carol")
    url = begin(way_of(proxy), token)
    proxy.agents.revoke("carol")
    way = way_of(proxy)
    headers = {"x-goog-api-key": token}
    wait_for(
        lambda: way.call("gemini", "GET", "/v1beta/models", headers=headers).status_code == 401,
        "Wirekey to see that the agent is revoked",
    )
    simulator.forget()
    assert go_on(way_of(proxy), url).status_code == 401
    assert not simulator.seen


# Bodies of any size stream through.


def peak_memory(proxy) -> int:
    """Bytes that the process has held at most."""
    status = Path(f"/proc/{proxy.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def zeros():
    for _ in range(LARGE // MIB):
        yield bytes(MIB)


LARGE_UPLOADS = {
    "gemini": ("gemini", "/upload/v1beta/files", LAST_BYTES),
    "openai-file": ("openai", "/v1/files", {}),
    "openai-part": ("openai", "/v1/uploads/{upload}/parts", {}),
    "anthropic-file": ("anthropic", "/v1/files", {}),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
@pytest.mark.parametrize("framing", ["with-length", "chunked"])
@pytest.mark.parametrize("name", LARGE_UPLOADS)
def test_a_large_upload_is_not_held(name, framing, simulator, proxy, began):
    provider, path, headers = LARGE_UPLOADS[name]
    way = way_of(proxy, "alice", proxy.token)
    if provider == "gemini":
        path = begin(way).removeprefix(f"https://{GEMINI}")
    if framing == "with-length":
        headers = {**headers, "content-length": str(LARGE)}
    before = peak_memory(proxy)
    way.call(provider, "POST", path.format(upload="upload_1"), headers=headers, content=zeros())
    arrived = simulator.seen[-1]
    assert arrived.size == LARGE
    assert arrived.sha256 == hashlib.sha256(bytes(LARGE)).hexdigest()
    # To hold it would take LARGE at least.
    assert peak_memory(proxy) - before < LARGE / 2
    event = proxy.finished_events(len(simulator.seen), began)[-1]
    assert event["agent_id"] == "alice"
    assert event["request_bytes"] in (None, LARGE)


def test_the_openai_sdk_uploads_files_and_parts(simulator, through, began):
    client = openai_client(Way(through.certs / "bundle.pem", PLACEHOLDERS))
    file = client.files.create(file=("canary.txt", CONTENT), purpose="user_data")
    assert client.files.content(file.id).read() == CONTENT
    upload = client.uploads.create(
        bytes=len(CONTENT), filename="canary.txt", mime_type="text/plain", purpose="user_data"
    )
    part = client.uploads.parts.create(upload.id, data=CONTENT)
    assert client.uploads.complete(upload.id, part_ids=[part.id]).file.bytes == len(CONTENT)
    operations = [event["operation"] for event in through.finished_events(5, began)]
    assert operations == ["files.create", "files.content", "uploads.create", "uploads.parts", "uploads.complete"]
