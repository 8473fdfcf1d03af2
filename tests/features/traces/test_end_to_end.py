"""A real `wirekey serve`, real SDKs, and a collector that keeps the spans it receives."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass

import httpx
import pytest

from tests.features.traces.collector import Collector, attributes
from tests.support.canaries import Canaries
from tests.support.own_simulator import simulator
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind, wait_for
from tests.support.sdk_calls import CALLS, PROMPT, Way

__all__ = ["simulator"]

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
CHAT = "https://api.openai.com/v1/chat/completions"


@dataclass
class Serving:
    proxy: Wirekey
    token: str

    def client(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.proxy.root)
        url = self.proxy.proxy_url("alice", self.token)
        return httpx.Client(proxy=url, verify=context, timeout=60, trust_env=False)

    def chat(self, model: str = "gpt-4o-mini", **headers: str) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
        with self.client() as client:
            return client.post(CHAT, json=body, headers=headers).status_code


@pytest.fixture
def serving(tmp_path, simulator):
    made: list[Wirekey] = []

    def serve(environ, **more) -> Serving:
        proxy = Wirekey(tmp_path / "wirekey", behind(simulator, **more), environ=KEY_ENVIRONMENT | QUICKLY | environ)
        made.append(proxy)
        return Serving(proxy, proxy.add_agent("alice", role="engineer"))

    simulator.forget()
    yield serve
    for proxy in made:
        proxy.stop()


@pytest.fixture
def collector():
    running = Collector()
    yield running
    running.stop()


SDK_SPANS = {
    "openai-chat": ("openai", "chat gpt-4o-mini", 12),
    "openai-chat-stream": ("openai", "chat gpt-4o-mini", 12),
    "gemini-stream": ("gcp.gemini", "generate_content gemini-2.5-flash", 9),
    "anthropic-stream": ("anthropic", "chat claude-sonnet-4-5", 13),
    "bedrock-converse": ("aws.bedrock", "chat anthropic.claude-3-5-sonnet-20241022-v2:0", 9),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_each_call_of_each_sdk_is_a_span_with_its_tokens(serving, collector, monkeypatch):
    stage = serving({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"})
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, stage.proxy.proxy_url("alice", stage.token))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(stage.proxy.root))
    way = Way(stage.proxy.root, dict.fromkeys(PROVIDER_KEYS, "placeholder"))
    for name in SDK_SPANS:
        CALLS[name][0](way, monkeypatch)
    spans = collector.wait_for_spans(len(SDK_SPANS))
    events = stage.proxy.finished_events(len(SDK_SPANS))
    found = {attributes(span.attributes)["wirekey.call.id"]: span for span in spans}
    for event, (provider, name, tokens) in zip(events, SDK_SPANS.values(), strict=True):
        span = found[event["id"]]
        said = attributes(span.attributes)
        assert span.name == name
        assert said["gen_ai.provider.name"] == provider
        assert said["gen_ai.usage.input_tokens"] == event["input_tokens"] == tokens
        assert said["gen_ai.usage.output_tokens"] == event["output_tokens"] > 0
        assert said["gen_ai.response.finish_reasons"] == [event["finish_reason"]]
        assert said["wirekey.credential"] == event["credential"]
        assert said["http.response.status_code"] == 200
        assert span.end_time_unix_nano - span.start_time_unix_nano == pytest.approx(event["duration_ms"] * 1e6, abs=1e4)
    assert collector.resources()[0]["service.name"] == "wirekey"


def test_the_clients_trace_is_continued_and_not_passed_upstream(serving, collector, simulator):
    stage = serving({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces"})
    trace = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=canary", "baggage": "user.id=canary"}
    assert stage.chat(**trace) == 200
    (span,) = collector.wait_for_spans(1)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert b"canary" not in b"".join(collector.bodies)
    (seen,) = simulator.seen
    assert not {name.lower() for name, _ in seen.headers} & set(trace)


def test_denied_and_failed_calls_are_errors_and_no_secret_or_content_is_exported(serving, collector, simulator):
    canaries = Canaries()
    for name, key in PROVIDER_KEYS.items():
        canaries.add(f"key of {name}", key)
    stage = serving({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    canaries.add("token", stage.token)
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": canaries("system")}, {"role": "user", "content": canaries("user")}],
        "tools": [{"type": "function", "function": {"name": "look", "description": canaries("tool")}}],
        "user": canaries("user id"),
    }
    headers = {"x-custom": canaries("header"), "baggage": canaries("baggage"), "traceparent": canaries("traceparent")}
    with stage.client() as client:
        for url, behaviour, status in (
            (f"{CHAT}?query={canaries('query')}", "", 200),
            (CHAT, "echo-key", 401),
            (CHAT, "fail=429", 429),
            (f"https://api.openai.com/v1/nonsense/?q={canaries('denied query')}", "", 404),
        ):
            more = {"x-simulator": behaviour} if behaviour else {}
            response = client.post(url, json=body, headers=headers | more)
            assert response.status_code == status, response.text
    spans = collector.wait_for_spans(4)
    assert [attributes(span.attributes).get("error.type") for span in spans] == [
        None,
        "401",
        "429",
        "unknown_operation",
    ]
    assert canaries.found_in(b"".join(collector.bodies) + repr(collector.headers).encode()) == []
    assert stage.proxy.stop() == 0
    assert canaries.found_in(stage.proxy.output.read_bytes()) == []


def test_queued_spans_are_exported_when_the_process_ends(serving, collector):
    stage = serving({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "3600000"})
    assert stage.chat() == 200
    stage.proxy.finished_event()
    assert collector.spans() == []
    assert stage.proxy.stop() == 0
    assert len(collector.spans()) == 1


def test_the_collector_can_be_set_in_the_dotenv_file(serving, collector, tmp_path):
    (tmp_path / "wirekey").mkdir()
    (tmp_path / "wirekey" / ".env").write_text(
        f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.url}\nOTEL_EXPORTER_OTLP_HEADERS=x-key=collector-key\n"
    )
    stage = serving({})
    assert stage.chat() == 200
    collector.wait_for_spans(1)
    assert collector.headers[0]["x-key"] == "collector-key"
    assert "collector-key" not in stage.proxy.output.read_text()


def test_a_dead_collector_fails_no_call_logs_one_warning_and_does_not_delay_the_end(serving):
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # and never listens
        port = unheard.getsockname()[1]
        url = f"http://user:canary-password@127.0.0.1:{port}"
        stage = serving({"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
        for _ in range(5):
            assert stage.chat() == 200
        output = stage.proxy.output
        wait_for(lambda: "does not accept traces" in output.read_text(), "the warning")
        assert stage.chat() == 200
        assert stage.proxy.stop() == 0
        assert output.read_text().count("does not accept traces") == 1
        assert "canary-password" not in output.read_text()


def test_without_opentelemetry_one_message_names_the_package_to_install(serving, collector, tmp_path):
    missing = tmp_path / "without" / "opentelemetry"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text("raise ModuleNotFoundError('opentelemetry')")
    stage = serving({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "PYTHONPATH": python_path(missing.parent)})
    assert stage.chat() == 200
    assert "pip install 'wirekey[otel]'" in stage.proxy.output.read_text()


def python_path(folder) -> str:
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
