"""What a route to Vertex AI makes of a call: its format, its location, its host and its path."""

import pytest

from tests.calls.test_attempt import PROVIDERS_TEXT, Sent
from tests.routing.test_routes import CHAT, GENERATE, KEYS, MESSAGES, candidates
from tests.support.configuration import loaded
from wirekey.core.routing.configured import provider_pools, routes_from


@pytest.mark.parametrize(
    ("call", "asked", "speaks"),
    [
        (CHAT, "gemini-2.5-pro", None),
        (CHAT, "meta/llama-4", None),
        (CHAT, "claude-sonnet-4-5", "anthropic"),
        (MESSAGES, "claude-sonnet-4-5", None),
        (MESSAGES, "gemini-2.5-pro", "gemini"),
        (MESSAGES, "meta/llama-4", "openai.chat"),
        (("openai", "POST /v1/responses"), "gemini-2.5-pro", "gemini"),
        (GENERATE, "gemini-2.5-pro", None),
        (GENERATE, "claude-sonnet-4-5", "anthropic"),
        (("bedrock", "POST /model/m/converse"), "claude-sonnet-4-5", "anthropic"),
        (("bedrock", "POST /model/m/invoke"), "gemini-2.5-pro", "gemini"),
    ],
)
def test_the_model_decides_the_format_at_vertex(tmp_path, call, asked, speaks):
    config = loaded(
        tmp_path,
        "providers: {vertex: {locations: [global]}}\nroutes: [{match: '*', provider: vertex, location: us-east5}]",
        KEYS,
    )
    (found,) = candidates(routes_from(config, provider_pools(config, {})), call, asked)
    assert (found.provider, found.speaks, found.location) == ("vertex", speaks, "us-east5")


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        (
            "routes: [{match: '*', provider: vertex, model: claude-opus-4-5, keys: [env:R]}]",
            "us-east5-aiplatform.googleapis.com",
            "/v1/projects/-/locations/us-east5/publishers/anthropic/models/claude-opus-4-5:rawPredict",
        ),
        (
            "routes: [{match: '*', provider: vertex, location: eu, model: gemini-2.5-pro, keys: [env:R]}]",
            "aiplatform.eu.rep.googleapis.com",
            "/v1/projects/-/locations/eu/endpoints/openapi/chat/completions",
        ),
    ],
    ids=["the first location", "a location of the route"],
)
def test_a_call_of_another_provider_goes_to_the_first_host_or_the_location_of_its_route(tmp_path, text, host, path):
    body = b'{"messages":[{"role":"user","content":"x"}], "model":"gpt-4o"}'
    vertex = PROVIDERS_TEXT.replace("}}\n", "}, vertex: {locations: [us-east5, eu]}}\n")
    sent = Sent(tmp_path, text, body=body, providers=vertex).admitted()
    assert (sent.state.attempt.upstream.host, sent.state.attempt.target.decode()) == (host, path)
