"""THREATS 2.9: requests that say one thing to Wirekey and another to the provider."""

from __future__ import annotations

import base64
import json

import httpx
import pytest

from tests.benchmarks.large_bodies import measured
from tests.support.raw_client import CHAT, RawClient, post
from tests.support.running import PATIENCE, SimulatorThread, wirekey_behind
from tests.support.stream_formats import trust
from tests.threats.conftest import Stage, beginning

POLICY = """
package wirekey.authz

allow := true

listed if input.model in {"gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-flash"}

deny contains "the model is not listed" if not listed

deny contains "the tool is not allowed" if "evil" in input.tools
"""
MESSAGES = [{"role": "user", "content": "hello"}]
ANTHROPIC, GEMINI = "api.anthropic.com", "generativelanguage.googleapis.com"


@pytest.fixture(scope="module")
def strict_stage(tmp_path_factory):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    folder = tmp_path_factory.mktemp("policy")
    (folder / "lists.rego").write_text(POLICY)
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    with wirekey_behind(
        tmp_path_factory.mktemp("wirekey"), simulator, policy={"path": str(folder)}, listen=listen
    ) as proxy:
        yield Stage(simulator, proxy, proxy.add_agent("alice", role="engineer"), proxy.add_agent("bob"))
    simulator.stop()


@pytest.fixture
def strict(strict_stage) -> Stage:
    strict_stage.simulator.forget()
    strict_stage.began = beginning()
    return strict_stage


def chat(**members) -> dict:
    return {"model": "gpt-4o-mini", "messages": MESSAGES} | members


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/batches", {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}),
        ("/v1/uploads", {"filename": "f", "purpose": "batch", "bytes": 1, "mime_type": "text/plain"}),
        ("/v1/uploads/upload_1/complete", {"part_ids": []}),
        ("/v1/chat/completions/chatcmpl-1", {"metadata": {}}),
    ],
)
def test_R12_model_is_read_only_where_the_operation_defines_it(strict, path, body):
    added = json.dumps(body | {"model": "gpt-4o-mini"}).encode()
    event = strict.denied(post(path=path, body=added), 403)
    assert event["policy_reason"].endswith("the model is not listed")
    assert (event["requested_model"], event["model"]) == (None, None)


def test_R12_the_model_of_an_operation_that_has_one_is_still_read(strict):
    assert strict.ask(post()).status == 200
    assert strict.event()["requested_model"] == "gpt-4o-mini"


FUNCTION = {"type": "function", "name": "evil", "parameters": {}}
NAMESPACE = {"type": "namespace", "name": "crm", "description": "x", "tools": [FUNCTION]}


@pytest.mark.parametrize(
    ("host", "path", "body"),
    [
        (None, "/v1/responses", {"model": "gpt-4o-mini", "input": "x", "tools": [NAMESPACE]}),
        (
            None,
            "/v1/responses",
            {
                "model": "gpt-4o-mini",
                "input": [{"type": "additional_tools", "role": "developer", "tools": [NAMESPACE]}],
            },
        ),
        (
            None,
            "/v1/responses",
            {"model": "gpt-4o-mini", "input": "x", "tools": [{"type": "mcp", "server_label": "evil"}]},
        ),
        (
            None,
            "/v1/responses",
            {
                "model": "gpt-4o-mini",
                "input": "x",
                "tools": [{"type": "mcp", "server_label": "crm", "allowed_tools": {"tool_names": ["evil"]}}],
            },
        ),
        (None, "/v1/chat/completions", chat(tools=[{"type": "custom", "custom": {"name": "evil"}}])),
        (
            None,
            "/v1/chat/completions",
            chat(tools=[{"type": "function", "function": {"name": "good"}, "name": "evil"}]),
        ),
        (
            ANTHROPIC,
            "/v1/messages",
            {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": MESSAGES, "mcp_servers": [{"name": "evil"}]},
        ),
        (
            ANTHROPIC,
            "/v1/messages",
            {
                "model": "claude-sonnet-4-5",
                "max_tokens": 9,
                "messages": MESSAGES,
                "tools": [{"type": "mcp_toolset", "mcp_server_name": "crm", "configs": {"evil": {"enabled": True}}}],
            },
        ),
        (
            GEMINI,
            "/v1beta/models/gemini-2.5-flash:generateContent",
            {"contents": [{"parts": [{"text": "x"}]}], "tools": [{"mcpServers": [{"name": "evil"}]}]},
        ),
    ],
)
def test_R13_nested_tools_and_mcp_servers_are_seen_by_the_policy(strict, host, path, body):
    host = host or "api.openai.com"
    event = strict.denied(post(path=path, host=host, body=json.dumps(body).encode()), 403, host)
    assert event["policy_reason"].endswith("the tool is not allowed")
    assert event["has_tools"]


def test_R13_the_eleven_tools_of_codex_in_three_namespaces_are_all_counted(strict):
    groups = [("shell", 4), ("files", 5), ("web", 2)]
    namespaces = [
        {
            "type": "namespace",
            "name": group,
            "description": "x",
            "tools": [{**FUNCTION, "name": f"t{n}"} for n in range(count)],
        }
        for n, (group, count) in enumerate(groups)
    ]
    items = [{"type": "additional_tools", "role": "developer", "tools": namespaces}, *MESSAGES]
    body = json.dumps({"model": "gpt-4o-mini", "input": items}).encode()
    assert strict.ask(post(path="/v1/responses", body=body)).status == 200
    assert strict.event()["tool_count"] == 11
    assert strict.arrived().body == body


QUERIES = [
    "alt=sse&alt=json",
    "alt=json&$alt=proto",
    "alt=json&%24alt=json",
    "pageSize=1&page_size=2",
    "model=a&model=b",
    "%6dodel=a",
    "alt=json;alt=media",
    "alt=json&%zz=1",
    "alt=json&x=%ff",
]
HEADERS = [
    ("Content-Type: text/plain",),
    ("Content-Type: application/json",),
    ("content_length: 5",),
    ("Transfer_Encoding: chunked",),
    ("Content_Type: text/plain",),
    ("Content-Encoding: identity", "Content-Encoding: gzip"),
]


@pytest.mark.parametrize("way", ["proxy", "gateway", "proxy-h2", "gateway-h2"])
@pytest.mark.parametrize("query", QUERIES)
def test_R14_a_parameter_twice_or_in_two_spellings(strict, way, query):
    if way.endswith("h2") and "%zz" in query:
        query = "alt=json&$alt=json"  # httpx would encode the other one
    send(strict, way, query)
    seen_nowhere(strict)


@pytest.mark.parametrize("way", ["proxy", "gateway", "proxy-h2", "gateway-h2"])
@pytest.mark.parametrize("lines", HEADERS)
def test_R14_a_header_twice_or_with_underscores(strict, way, lines):
    send(strict, way, "", lines)
    seen_nowhere(strict)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8; charset=utf-16",
        'application/json; charset="utf-8"; Charset=utf-7',
        "application/json; charset*=utf-8''utf-16; charset=utf-8",
        "application/json; charset=utf-8, text/plain",
    ],
)
def test_R14_two_charsets(strict, content_type):
    strict.denied(post(content_type=content_type), 400)


def test_R14_what_appears_once_passes(strict):
    path = "/v1/responses/resp_1?include[]=a&include[]=b&starting_after=1"
    strict.ask(post(method="GET", path=path, body=b"", content_type=None))
    event = strict.event()
    # No model: the list refuses it, and not the query.
    assert event["policy_reason"].endswith("the model is not listed")


def send(stage: Stage, way: str, query: str, lines: tuple[str, ...] = ()) -> None:
    """Assert that a chat with this query and these header lines is refused with 400."""
    target = "/v1/chat/completions" + (f"?{query}" if query else "")
    gateway = stage.proxy.running.gateway
    if way.endswith("h2"):
        ways = {"base": f"https://{gateway}"} if way.startswith("gateway") else {}
        status = over_http2(stage, target, lines, **ways)
    elif way == "proxy":
        status = stage.ask(post(*lines, path=target)).status
    else:
        with RawClient(gateway) as client:
            client.send(post(f"Authorization: Bearer {stage.alice}", *lines, path=target, host=gateway))
            status = client.read_response().status
    assert status == 400


def seen_nowhere(stage: Stage) -> None:
    assert stage.nothing_arrived()
    event = stage.event()
    assert (event["outcome"], event["policy_result"], event["status"]) == ("denied", "deny", 400)
    assert event["policy_reason"].startswith("malformed")


HIDING = [
    ("fields=candidates", ()),
    ("$fields=candidates", ()),
    ("%24fields=candidates", ()),
    ("callback=f", ()),
    ("model=models/gemini-2.5-pro", ()),
    ("name=models/gemini-2.5-pro", ()),
    ("", ("X-Goog-FieldMask: candidates",)),
    ("", ("x_goog_fieldmask: candidates",)),
]


@pytest.mark.parametrize("action", ["generateContent", "streamGenerateContent"])
@pytest.mark.parametrize(("query", "lines"), HIDING)
def test_R42_a_head_that_hides_token_counts_or_names_a_second_model_is_refused(strict, action, query, lines):
    path = f"/v1beta/models/gemini-2.5-flash:{action}?{query}"
    event = strict.denied(post(*lines, path=path, host=GEMINI, body=b'{"contents":[]}'), 400, GEMINI)
    assert event["policy_reason"].startswith("malformed")
    assert event["operation"] == action


@pytest.mark.parametrize("lines", [(), ("X-Goog-FieldMask: *",)])
def test_a_mask_that_keeps_all_token_counts_passes(strict, lines):
    path = "/v1beta/models/gemini-2.5-flash:generateContent?fields=candidates,usageMetadata"
    body = json.dumps({"contents": [{"parts": [{"text": "hello"}]}]}).encode()
    assert strict.ask(post(*lines, path=path, host=GEMINI, body=body), GEMINI).status == 200
    assert strict.event()["output_tokens"]


LOOKALIKES = [
    "model ",
    "model\0",
    "Model",
    "mo-del",
    "\N{FULLWIDTH LATIN SMALL LETTER M}odel",
    "max_tokens\t",
    "maxTokens",
]


@pytest.mark.parametrize("member", LOOKALIKES)
def test_R24_members_that_look_like_one_that_policy_reads(strict, member):
    event = strict.denied(post(body=json.dumps(chat(**{member: "other"})).encode()), 400)
    assert "must be spelled" in event["policy_reason"]


@pytest.mark.parametrize(
    "body",
    [
        {"contents": [], "systemInstruction": {}, "system_instruction": {}},
        {"contents": [], "generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 2}},
        {"contents": [], "generationConfig": {}, "generation_config": {}},
        {"contents": [], "GenerationConfig": {}},
        {"contents": [], "tools": [{"functionDeclarations": [], "function_declarations": []}]},
        {"contents": [], "tools": [{"function_declarations ": []}]},
    ],
)
def test_R24_members_in_two_spellings_of_google(strict, body):
    path = "/v1beta/models/gemini-2.5-flash:generateContent"
    strict.denied(post(path=path, host=GEMINI, body=json.dumps(body).encode()), 400, GEMINI)


@pytest.mark.parametrize("config", [{"maxOutputTokens": 7}, {"max_output_tokens": 7}])
def test_R24_either_spelling_of_google_is_read(strict, config):
    group = "generationConfig" if "maxOutputTokens" in config else "generation_config"
    body = {"contents": [{"parts": [{"text": "x"}]}], group: config}
    path = "/v1beta/models/gemini-2.5-flash:generateContent"
    assert strict.ask(post(path=path, host=GEMINI, body=json.dumps(body).encode()), GEMINI).status == 200
    assert strict.event()["max_tokens"] == 7


@pytest.mark.parametrize(
    "disposition",
    [
        b'form-data; name="model\0"',
        b'form-data; name="model "',
        b'form-data; name="Model"',
        b'form-data; name="=?utf-8?Q?model?="',
        b"form-data; name*=utf-8''model",
        b"form-data; name=\"x\"; name*=utf-8''model",
        b'form-data; name="_charset_"',
        b'form-data; name="%6dodel"',
    ],
)
def test_R24_form_fields_that_some_servers_read_as_another(strict, disposition):
    parts = [(b'form-data; name="model"', b"gpt-4o-mini"), (disposition, b"other")]
    body = b"".join(b"--b\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % part for part in parts) + b"--b--\r\n"
    request = post(path="/v1/audio/transcriptions", body=body, content_type="multipart/form-data; boundary=b")
    strict.denied(request, 400)


MIB = 1 << 20
TINY = {
    "empty objects": b'{"model":"gpt-4o-mini","messages":[' + b"{}," * (8 * MIB // 3) + b"{}]}",
    "small objects": b'{"model":"gpt-4o-mini","messages":[' + b'{"a":0},' * (28 * MIB // 8) + b"{}]}",
    "deep in a tool": b'{"model":"gpt-4o-mini","messages":[],"tools":[{"x":[' + b"[]," * (8 * MIB // 3) + b"0]}]}",
    "in members": b'{"model":"gpt-4o-mini","x":{' + b'"":0,' * (8 * MIB // 5) + b'"":0}}',
}


@pytest.mark.parametrize("body", TINY.values(), ids=TINY)
def test_R6_a_body_of_many_values_is_refused_before_it_is_decoded(strict, body):
    (answer,), memory = measured(strict.proxy, [lambda: strict.ask(post(body=body))])
    assert (answer.status, answer.json()["error"]["code"]) == (413, "too_many_values")
    assert "limits.json_values" in answer.message
    assert strict.nothing_arrived()
    event = strict.event()
    assert (event["outcome"], event["status"], event["requested_model"]) == ("denied", 413, None)
    assert memory.peak < 4 * len(body) / MIB


def test_R6_a_body_of_many_values_inside_another_one_is_refused(strict):
    inner = base64.b64encode(b'{"messages":[' + b"{}," * (2 * MIB // 3) + b"{}]}").decode()
    body = json.dumps({"input": {"invokeModel": {"body": inner}}}).encode()
    host, path = "bedrock-runtime.us-east-1.amazonaws.com", "/model/amazon.nova-lite-v1%3A0/count-tokens"
    strict.denied(post(path=path, host=host, body=body), 413, host)


def test_R6_a_large_body_with_commas_in_its_text_passes(strict):
    text = '{"a": [1, 2, "x"]}, ' * (6 * MIB // 20)
    body = json.dumps(chat(messages=[{"role": "user", "content": text}])).encode()
    (answer,), memory = measured(strict.proxy, [lambda: strict.ask(post(body=body))])
    assert answer.status == 200
    event = strict.event()
    assert (event["status"], event["request_bytes"], event["message_count"]) == (200, len(body), 1)
    assert memory.peak < 4 * len(body) / MIB


def over_http2(stage: Stage, target: str, lines: tuple[str, ...], base: str = "https://api.openai.com") -> int:
    through_proxy = base == "https://api.openai.com"
    key = ("authorization", f"Bearer {'placeholder' if through_proxy else stage.alice}")
    with httpx.Client(
        verify=trust(stage.proxy.root, http2=True),
        proxy=stage.proxy.proxy_url("alice", stage.alice) if through_proxy else None,
        http1=False,
        http2=True,
        timeout=PATIENCE,
        trust_env=False,
    ) as client:
        fields = [tuple(line.lower().split(": ", 1)) for line in lines]
        headers = [("content-type", "application/json"), key, *fields]
        answer = client.post(base + target, content=CHAT, headers=headers)
    assert answer.http_version == "HTTP/2"
    return answer.status_code
