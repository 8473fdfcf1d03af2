"""curl, the AWS CLI and a Java program at the gateway, run by `exec --gateway`: nothing in them is Wirekey's."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.conversation import HERE, installed, run_behind_exec
from tests.support.running import PATIENCE, PROVIDER_KEYS, wait_for
from wirekey.core.call import new_call_id

CHAT = '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}'
GEMINI_CHAT = CHAT.replace("gpt-4o-mini", "gemini-2.5-flash")
STREAM = CHAT[:-1] + ',"stream":true}'
IMAGE = (
    '{"model":"gpt-4o-mini","messages":[{"role":"user","content":[{"type":"text","text":"what is it"},'
    '{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}]}'
)
EMBED = '{"model":"text-embedding-3-small","input":"hello"}'
GEMINI_EMBED = EMBED.replace("text-embedding-3-small", "gemini-embedding-001")
CONTENTS = '{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}'
EMBED_CONTENT = '{"content":{"parts":[{"text":"hello"}]}}'
CLAUDE = '{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}'
INVOKE = '{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
CONVERSE = '{"messages":[{"role":"user","content":[{"text":"hello"}]}]}'
BEARER, GOOGLE = "Authorization: Bearer $TOKEN", "x-goog-api-key: $TOKEN"
MODEL = "/model/anthropic.claude-3-5-sonnet-20241022-v2:0"
FLASH = "/v1beta/models/gemini-2.0-flash"
LINES = [
    # path, headers, body, operation, provider's path (None: the same), what the response contains
    (f"/api/v1/gemini{FLASH}:generateContent", [BEARER], CONTENTS, "generateContent", "usageMetadata"),
    (f"/api/v1/gemini{FLASH}:generateContent", [GOOGLE], CONTENTS, "generateContent", "usageMetadata"),
    (f"/api/v1/gemini{FLASH}:generateContent?key=$TOKEN", [], CONTENTS, "generateContent", "usageMetadata"),
    (f"/api/v1/gemini{FLASH}:streamGenerateContent?alt=sse", [BEARER], CONTENTS, "streamGenerateContent", "data: {"),
    ("/api/v1/gemini/v1beta/models?pageSize=5", [BEARER], None, "models.list", "models/"),
    ("/api/v1/openai/v1/chat/completions", [BEARER], CHAT, "chat.completions", "chat.completion"),
    ("/api/v1/openai/v1/models", [BEARER], None, "models.list", "gpt-4o-mini"),
    ("/api/v1/anthropic/v1/messages", [BEARER, "anthropic-version: 2023-06-01"], CLAUDE, "messages", '"message"'),
    ("/v1/messages", ["x-api-key: $TOKEN", "anthropic-version: 2023-06-01"], CLAUDE, "messages", '"message"'),
    ("/v1/chat/completions", [BEARER], CHAT, "chat.completions", "chat.completion"),
    ("/v1/chat/completions", [GOOGLE], CHAT, "chat.completions", "chat.completion"),
    ("/v1/chat/completions", [BEARER], STREAM, "chat.completions", "data: [DONE]"),
    ("/v1/chat/completions", [BEARER], IMAGE, "chat.completions", "chat.completion"),
    ("/v1/chat/completions", [BEARER], GEMINI_CHAT, "chat.completions", "chat.completion"),
    ("/v1beta/openai/chat/completions", [BEARER], GEMINI_CHAT, "chat.completions", "chat.completion"),
    ("/v1/embeddings", [BEARER], EMBED, "embeddings", '"embedding"'),
    ("/v1/embeddings", [BEARER], GEMINI_EMBED, "embeddings", '"embedding"'),
    ("/v1beta/openai/embeddings", [BEARER], GEMINI_EMBED, "embeddings", '"embedding"'),
    (f"{FLASH}:generateContent", [GOOGLE], CONTENTS, "generateContent", "usageMetadata"),
    (f"{FLASH}:streamGenerateContent", [GOOGLE], CONTENTS, "streamGenerateContent", "usageMetadata"),
    ("/v1beta/models/gemini-embedding-001:embedContent", [GOOGLE], EMBED_CONTENT, "embedContent", "embedding"),
    (f"/api/v1/bedrock{MODEL}/converse", [BEARER], CONVERSE, "converse", "stopReason"),
    (f"{MODEL}/invoke", [BEARER], INVOKE, "invoke", "usage"),
    (f"{MODEL}/invoke-with-response-stream", [BEARER], INVOKE, "invoke-with-response-stream", "chunk"),
    (f"{MODEL}/converse", [BEARER], CONVERSE, "converse", "stopReason"),
    (f"{MODEL}/converse-stream", [BEARER], CONVERSE, "converse-stream", "messageStop"),
]


@pytest.fixture(scope="module")
def curl(running_stage):
    """Ask with curl; `$TOKEN` in a header or a path is alice's token. Returns status, headers and body as one text."""

    def ask(path, headers, body, *options):
        base = f"http://{running_stage.proxy.running.gateway}"
        lines = [part for line in headers for part in ("-H", line.replace("$TOKEN", running_stage.token))]
        data = [] if body is None else ["-H", "Content-Type: application/json", "-d", body]
        url = base + path.replace("$TOKEN", running_stage.token)
        command = [installed("curl"), "-sS", "-N", "-i", *lines, *data, *options, url]
        said = subprocess.run(command, env={}, capture_output=True, timeout=4 * PATIENCE, check=False)
        assert said.returncode == 0, said.stderr
        return said.stdout.decode("utf-8", "replace")

    return ask


@pytest.mark.parametrize(
    ("path", "headers", "body", "operation", "found"), LINES, ids=[f"{row[0]} {row[1][:1]}" for row in LINES]
)
def test_a_curl_command_gets_its_response(stage, curl, path, headers, body, operation, found):  # noqa: PLR0917  # columns
    response = curl(path, headers, body)
    assert response.startswith("HTTP/1.1 200 "), response
    assert found in response
    event = stage.proxy.finished_event(stage.began)
    assert (event["agent_id"], event["operation"], event["outcome"]) == ("alice", operation, "completed")
    (seen,) = stage.simulator.seen
    assert stage.token not in repr(seen.headers) + seen.target
    assert PROVIDER_KEYS[event["provider"]] in repr(seen.headers)


@pytest.mark.parametrize(
    ("path", "headers", "found"),
    [
        ("/v1/models", [BEARER], '"object":"list"'),
        ("/v1beta/models", [GOOGLE], '"models":['),
        ("/v1/models", [BEARER, "anthropic-version: 2023-06-01"], '"has_more"'),
        ("/health", [], '{"status":"ok"}'),
    ],
)
def test_wirekeys_own_responses(curl, path, headers, found):
    response = curl(path, headers, None)
    assert response.startswith("HTTP/1.1 200 "), response
    assert found in response.replace('": ', '":')


def test_the_query_is_forwarded_unchanged(stage, curl):
    curl("/api/v1/gemini/v1beta/models?pageSize=5&pageToken=", [BEARER], None)
    assert stage.simulator.seen[0].target == "/v1beta/models?pageSize=5&pageToken="


WISHES = {
    "Accept": "application/json",
    "X-Amzn-Bedrock-Trace": "ENABLED_FULL",
    "X-Amzn-Bedrock-GuardrailIdentifier": "gr1",
    "X-Amzn-Bedrock-GuardrailVersion": "DRAFT",
    "X-Amzn-Bedrock-PerformanceConfig-Latency": "optimized",
    "X-Amzn-Bedrock-Service-Tier": "flex",
}


def test_what_invoke_is_wished_in_headers_arrives_and_the_content_type_is_the_clients(stage, curl):
    wishes = [f"{name}: {value}" for name, value in WISHES.items()]
    curl(f"{MODEL}/invoke", [BEARER, "Content-Type: application/json; charset=utf-8", *wishes], None, "-d", INVOKE)
    headers = {name.decode().lower(): value.decode() for name, value in stage.simulator.seen[0].headers}
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert {name: headers.get(name.lower()) for name in WISHES} == WISHES


@pytest.mark.parametrize(
    ("option", "status"), [("--http1.1", "HTTP/1.1 200"), ("--http2-prior-knowledge", "HTTP/2 200")]
)
def test_curl_speaks_either_protocol_without_tls(curl, option, status):
    assert curl("/v1/chat/completions", [BEARER], CHAT, option).startswith(status)


def test_an_upgrade_to_http2_is_ignored(curl):
    assert curl("/v1/chat/completions", [BEARER], CHAT, "--http2").startswith("HTTP/1.1 200")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/openai/v1/chat/completions"])
def test_without_an_agent_curl_prints_wirekeys_message(curl, path):
    response = curl(path, [], CHAT)
    assert response.startswith("HTTP/1.1 401 ")
    assert "has no agent token" in response


def run(stage, *command, **variables) -> subprocess.CompletedProcess[str]:
    return run_behind_exec(stage.proxy, *command, gateway=True, variables=variables)


@pytest.mark.parametrize("root", ["prefixed", "root"])
def test_the_aws_cli_signs_for_the_gateway(stage, root):
    asked = ("converse", "--model-id", MODEL.removeprefix("/model/"), "--messages", json.loads(CONVERSE)["messages"])
    asked = [part if isinstance(part, str) else json.dumps(part) for part in asked]
    base = f"http://{stage.proxy.running.gateway}"
    variables = {} if root == "prefixed" else {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": base}
    said = run(stage, installed("aws"), "bedrock-runtime", *asked, **variables)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["stopReason"] == "end_turn"
    assert stage.simulator.seen[0].target == f"{MODEL.replace(':', '%3A')}/converse"
    assert stage.proxy.finished_event(stage.began)["agent_id"] == "alice"


def test_the_aws_cli_lists_what_the_account_has(stage):
    said = run(stage, installed("aws"), "bedrock", "list-foundation-models")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["modelSummaries"]


def test_a_java_program_gets_response_and_stream(stage):
    said = run(stage, installed("java"), str(HERE / "java" / "Chat.java"), stage.token)
    assert said.returncode == 0, said.stderr
    plain, *events = said.stdout.splitlines()
    assert plain.startswith('200 {"')
    assert events[-1] == "data: [DONE]"
    assert {event["agent_id"] for event in stage.proxy.finished_events(2, stage.began)} == {"alice"}


def test_a_program_has_no_provider_key_and_its_token_ends_with_it(stage):
    began = new_call_id()
    said = run(stage, installed("sh"), "-c", "echo $OPENAI_API_KEY")
    token = said.stdout.strip()
    assert token.startswith("wk_")
    command = [
        *(installed("curl"), "-sS", "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"),
        *("-d", CHAT, f"http://{stage.proxy.running.gateway}/v1/chat/completions"),
    ]

    tries = []

    def is_refused():
        ended = subprocess.run(command, env={}, capture_output=True, text=True, timeout=PATIENCE, check=False)
        tries.append(ended.stdout)
        return "No agent has this token" in ended.stdout

    wait_for(is_refused, "the token to end")
    event = stage.proxy.finished_events(len(tries), began)[-1]
    assert (event["outcome"], event["status"]) == ("denied", 401)
