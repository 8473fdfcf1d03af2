"""Live sessions at Vertex AI with Google's SDK, through the proxy and the gateway."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.features.vertex.test_end_to_end import LOCATION, configuration, nothing_yet, served, simulator, tokens
from tests.support.running import PATIENCE
from wirekey.core.call import new_call_id

__all__ = ["nothing_yet", "served", "simulator", "tokens"]

MODEL = "gemini-live-2.5-flash"
PATH = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
PLACE = f"projects/my-project/locations/{LOCATION}/publishers/google/models/"
HOST = f"{LOCATION}-aiplatform.googleapis.com"


def options(served, way) -> types.HttpOptions:
    trusted = ssl.create_default_context(cafile=served.root)
    if way == "gateway":
        base = f"https://{served.running.gateway}/"
        return types.HttpOptions(base_url=base, async_client_args={"ssl": trusted, "proxy": None})
    if way == "gateway, prefix":
        base = f"https://{served.running.gateway}/api/v1/vertex"
        return types.HttpOptions(base_url=base, async_client_args={"ssl": trusted, "proxy": None})
    proxy = served.proxy_url("alice", served.token)
    return types.HttpOptions(async_client_args={"ssl": trusted, "proxy": proxy})


async def talk(served, way, model=MODEL, location=LOCATION) -> str:
    client = genai.Client(
        vertexai=True,
        project="my-project",
        location=location,
        credentials=Credentials(served.token),
        http_options=options(served, way),
    )
    heard = []
    config = types.LiveConnectConfig(response_modalities=["TEXT"], system_instruction="Be brief.")
    async with client.aio.live.connect(model=model, config=config) as session:
        for text in ("Hello.", "And again."):
            await session.send_client_content(turns=types.Content(role="user", parts=[types.Part(text=text)]))
            heard += [message.text or "" async for message in session.receive()]
    return "".join(heard)


@pytest.mark.parametrize("way", ["proxy", "gateway", "gateway, prefix"])
@pytest.mark.parametrize("location", [LOCATION, "global"])
def test_googles_sdk_talks(way, location, served, simulator, tokens):
    began = new_call_id()
    assert asyncio.run(talk(served, way, location=location))
    (seen,) = simulator.seen
    headers = dict(seen.headers)
    assert seen.target == PATH
    assert headers[b"authorization"].decode().removeprefix("Bearer ") in tokens.issued
    assert served.token.encode() not in b"".join(headers.values())
    connection, *turns = served.finished_events(3, began)
    assert (connection["provider"], connection["operation"]) == ("vertex", "realtime")
    assert (connection["requested_model"], connection["model"]) == (MODEL, MODEL)
    assert (connection["credential"], connection["outcome"]) == ("vertex/default", "completed")
    assert [turn["outcome"] for turn in turns] == ["completed", "completed"]
    assert all(turn["input_tokens"] and turn["output_tokens"] for turn in turns)


def gateway_socket(served):
    address = f"ws://{served.running.gateway}{PATH}"
    headers = {"Authorization": f"Bearer {served.token}"}
    return connect(address, additional_headers=headers, proxy=None, close_timeout=PATIENCE)


def closed_by(served, model) -> tuple[int, str]:
    """The code and reason with which a session is closed whose setup names this model."""
    with gateway_socket(served) as socket:
        socket.send(json.dumps({"setup": {"model": model}}))
        with pytest.raises(ConnectionClosed) as error:
            socket.recv(PATIENCE)
    return error.value.rcvd.code, error.value.rcvd.reason


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (f"projects/other/locations/{LOCATION}/publishers/google/models/{MODEL}", "project"),
        (f"projects/my-project/locations/asia-east1/publishers/google/models/{MODEL}", "location"),
        (f"projects/my-project/locations/nowhere-at-all/publishers/google/models/{MODEL}", "location"),
        (f"models/{MODEL}", "setup.model"),
        (f"publishers/google/models/{MODEL}", "setup.model"),
        (f"{PLACE}claude-opus-4", "no opus"),
        (f"{PLACE}../{MODEL}", "setup.model"),
    ],
)
def test_a_setup_that_is_not_allowed_is_refused_before_a_connection(model, reason, served, simulator):
    code, text = closed_by(served, model)
    assert code in (1007, 1008)
    assert reason in text
    assert not simulator.seen


def test_a_hyphen_stands_for_the_project_of_the_credentials(served, simulator):
    with gateway_socket(served) as socket:
        name = f"projects/-/locations/{LOCATION}/publishers/google/models/{MODEL}"
        socket.send(json.dumps({"setup": {"model": name}}))
        assert json.loads(socket.recv(PATIENCE)) == {"setupComplete": {}}
    assert len(simulator.seen) == 1


def test_a_setup_for_another_location_than_that_of_the_host_is_refused(served, simulator):
    trusted = ssl.create_default_context(cafile=served.root)
    proxy = served.proxy_url("alice", served.token)
    with connect(f"wss://{HOST}{PATH}", ssl=trusted, proxy=proxy, close_timeout=PATIENCE) as socket:
        name = f"projects/my-project/locations/global/publishers/google/models/{MODEL}"
        socket.send(json.dumps({"setup": {"model": name}}))
        with pytest.raises(ConnectionClosed) as error:
            socket.recv(PATIENCE)
    assert "aiplatform.googleapis.com" in error.value.rcvd.reason
    assert not simulator.seen


def test_a_connection_without_an_identity_is_refused(served, simulator):
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{served.running.gateway}{PATH}", proxy=None):
        pass
    assert refused.value.response.status_code == 401
    assert not simulator.seen


def test_the_model_of_a_route_is_asked_for_at_the_same_place(tmp_path, simulator, tokens):
    from tests.support.running import KEY_ENVIRONMENT, Wirekey

    (tmp_path / "account.json").write_text(tokens.service_account())
    (tmp_path / "account.json").chmod(0o600)
    settings = configuration(simulator, tmp_path, credentials="account.json")
    settings["routes"] = [{"match": "voice", "model": MODEL}]
    running = Wirekey(tmp_path, settings, environ=KEY_ENVIRONMENT)
    try:
        running.token = running.add_agent("alice")
        with gateway_socket(running) as socket:
            socket.send(json.dumps({"setup": {"model": f"{PLACE}voice"}}))
            assert json.loads(socket.recv(PATIENCE)) == {"setupComplete": {}}
        event = running.finished_event()
        assert (event["requested_model"], event["model"]) == ("voice", MODEL)
    finally:
        running.stop()
