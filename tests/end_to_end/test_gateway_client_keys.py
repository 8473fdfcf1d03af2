"""Programs at the gateway with a provider key of their own: a JWT identifies the caller, a header has the key."""

from __future__ import annotations

import httpx
import openai
import pytest
from google import genai

from tests.support.own_simulator import simulator
from tests.support.running import PROVIDER_KEYS, wirekey_behind
from wirekey.core.call import new_call_id

__all__ = ["simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
QUESTION = [{"role": "user", "content": "hello"}]
HEADERS = {"openai": "X-OpenAI-Key", "gemini": "X-Gemini-Key"}


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    providers = {name: {"upstream_url": simulator.url, "key_source": "client"} for name in HEADERS}
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, listen=LISTEN, providers=providers) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def base(wirekey):
    return f"http://{wirekey.running.gateway}/api/v1"


@pytest.fixture(scope="module")
def jwt(wirekey, base):
    made = wirekey.agents.add_client("bob")
    secret = made.client_secret.reveal()
    asked = {"client_id": made.client_id, "client_secret": secret, "grant_type": "client_credentials"}
    return httpx.post(base + "/auth/token", json=asked).json()["access_token"]


@pytest.fixture(autouse=True)
def began(simulator):
    simulator.forget()
    return new_call_id()


def openai_with(base, jwt, headers):
    return openai.OpenAI(api_key=jwt, base_url=base + "/openai/v1", default_headers=headers, max_retries=0)


def gemini_with(base, jwt, headers):
    return genai.Client(api_key=jwt, http_options={"base_url": base + "/gemini", "headers": headers})


def ask_openai(client, *, stream):
    response = client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, stream=stream)
    return list(response) if stream else response.choices


def ask_gemini(client, *, stream):
    asked = {"model": "gemini-2.0-flash", "contents": "hello"}
    return (
        list(client.models.generate_content_stream(**asked)) if stream else client.models.generate_content(**asked).text
    )


SDKS = [("openai", openai_with, ask_openai), ("gemini", gemini_with, ask_gemini)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("provider", "made", "ask"), SDKS, ids=HEADERS)
def test_the_key_of_the_header_is_used_and_the_token_is_not_forwarded(  # noqa: PLR0917  # columns and fixtures
    base, jwt, provider, made, ask, stream, wirekey, simulator, began
):
    assert ask(made(base, jwt, {HEADERS[provider]: PROVIDER_KEYS[provider]}), stream=stream)
    event = wirekey.finished_event(began)
    assert (event["agent_id"], event["credential"], event["outcome"]) == ("bob", f"{provider}/client", "completed")
    assert event["tool_name"] == f"{provider}-api"
    (seen,) = simulator.seen
    sent = {name.decode().lower(): value.decode() for name, value in seen.headers}
    assert HEADERS[provider].lower() not in sent
    assert [name for name, value in sent.items() if PROVIDER_KEYS[provider] in value] == [
        "authorization" if provider == "openai" else "x-goog-api-key"
    ]
    assert jwt not in repr(seen.headers)
    for secret in (jwt, PROVIDER_KEYS[provider]):
        assert secret not in wirekey.output.read_text()


@pytest.mark.parametrize(("provider", "made", "ask"), SDKS, ids=HEADERS)
def test_without_the_header_the_sdk_raises_a_401_that_names_it(base, jwt, provider, made, ask, simulator):  # noqa: PLR0917  # columns and fixtures
    with pytest.raises((openai.AuthenticationError, genai.errors.ClientError), match=HEADERS[provider]) as raised:
        ask(made(base, jwt, {}), stream=False)
    assert 401 in (getattr(raised.value, "status_code", 0), getattr(raised.value, "code", 0))
    assert simulator.seen == []
