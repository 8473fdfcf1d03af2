"""Each row of docs/coming-from/llm-interactive-proxy.md, run against a Wirekey with the configuration of the page."""

from __future__ import annotations

import hashlib
import json
import secrets

import anthropic
import httpx
import pytest

from tests.coming_from.pages import code_of, row_tests
from tests.coming_from.stage import GENERATE, Stage, read_setting, shown_configuration, staged
from tests.support.running import PATIENCE, PROVIDER_KEYS, SimulatorThread
from wirekey.features.local_programs.config import LocalProgramSetting

PAGE = "docs/coming-from/llm-interactive-proxy.md"
SECOND_KEY = "AIza-second-gemini-key-52ab"
MESSAGES = [{"role": "user", "content": "Say hello."}]
FLASH = "/v1beta/models/gemini-2.5-flash"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    keys = {name: [key] for name, key in PROVIDER_KEYS.items()}
    keys["gemini"].append(SECOND_KEY)
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys)
    environ = {
        "GEMINI_API_KEY_1": PROVIDER_KEYS["gemini"],
        "GEMINI_API_KEY_2": SECOND_KEY,
        "OPENAI_API_KEY": PROVIDER_KEYS["openai"],
    }
    with staged(tmp_path_factory.mktemp("wirekey"), simulator, shown_configuration(PAGE), environ) as stage:
        yield stage
    simulator.stop()


def chat(stage: Stage, model: str, **more: object):
    return stage.ask("POST", "/v1/chat/completions", {"model": model, "messages": MESSAGES, **more})


def keys(stage: Stage, here: str) -> None:
    """The agent keeps its key, and another agent may get the other one."""
    reference = shown_configuration(PAGE)["providers"]["gemini"]["keys"]
    assert code_of(here) == [f"providers.gemini.keys: [{', '.join(reference)}]"]
    tokens = [stage.token, *(stage.wirekey.add_agent(f"agent-{secrets.token_hex(3)}") for _ in range(3))]
    for token in tokens:
        assert stage.ask("POST", f"{FLASH}:generateContent", GENERATE, token=token).status_code == 200
    sent = {dict(seen.headers)[b"x-goog-api-key"].decode() for seen in stage.simulator.seen}
    assert sent <= {PROVIDER_KEYS["gemini"], SECOND_KEY}
    labels = {event["credential"] for event in stage.wirekey.finished_events(4, stage.since)}
    assert labels <= {"gemini/1", "gemini/2"}


def proxy_key(stage: Stage, here: str) -> None:
    key = secrets.token_urlsafe(32)
    file = stage.wirekey.folder / "key.json"
    file.write_text(json.dumps([{"agent": f"old-{key[:6]}", code_of(here)[1]: key}]))
    _, *arguments, _ = code_of(here)[0].split()
    stage.command(*arguments, str(file))
    stage.accepts(key)


def without_key(stage: Stage, here: str) -> None:
    name, _, value = code_of(here)[0].partition("=")
    with stage.again({name: value}) as other:
        assert other.ask("POST", f"{FLASH}:generateContent", GENERATE, token="").status_code == 200
        assert httpx.get(f"{other.base}/v1/models", timeout=PATIENCE).status_code == 200


def default_backend(stage: Stage, here: str) -> None:
    assert code_of(here) == [f"default_backend: {shown_configuration(PAGE)['default_backend']}"]
    assert chat(stage, "learnlm-2.0-flash").status_code == 200
    assert stage.event()["provider"] == "gemini"


def selection(_: Stage, here: str) -> None:
    assert code_of(here) == ["providers.gemini.selection"]
    for word in ("session-affinity", "random", "first-available", "round-robin"):
        text = f"providers: {{gemini: {{keys: [env:A], selection: {word}}}}}"
        assert read_setting(text, {"A": "AIza-a"}).providers.gemini.selection == word


def affinity(_: Stage, here: str) -> None:
    settings = read_setting("{}").session_affinity
    assert [getattr(settings, name.partition(".")[2]) for name in code_of(here)] == [86400, 10000]


def fallback(stage: Stage, here: str) -> None:
    assert shown_configuration(PAGE)["routes"][0]["fallback"] == [code_of(here)[0].partition("[")[2].strip("]")]
    assert chat(stage, "gemini-2.5-pro-sim-fail-429").status_code == 200
    assert stage.event()["model"] == "gemini-2.5-flash"


def no_fallback(stage: Stage, here: str) -> None:
    assert code_of(here) == ["fallback"]
    assert chat(stage, "gemini-2.0-flash-sim-fail-429").status_code == 429


def clamped(stage: Stage, here: str) -> None:
    assert code_of(here)[0] in shown_configuration(PAGE)
    for model, temperature in (("gemini-1.0-pro", 1), ("gemini-2.0-flash", 1.7)):
        body = GENERATE | {"generationConfig": {"temperature": 1.7}}
        assert stage.ask("POST", f"/v1beta/models/{model}:generateContent", body).status_code == 200
        assert json.loads(stage.arrived.body)["generationConfig"]["temperature"] == temperature


def address(_: Stage, here: str) -> None:
    assert code_of(here)[0] == "listen.gateway"
    assert str(read_setting("{}").listen.gateway) == code_of(here)[1]


def chats(stage: Stage, here: str) -> None:
    assert here == "the same"
    assert chat(stage, "gemini-2.5-flash").json()["choices"]
    assert "[DONE]" in chat(stage, "gemini-2.5-flash", stream=True).text
    assert stage.arrived.provider == "gemini"


def messages(stage: Stage, here: str) -> None:
    assert code_of(here) == ["provider: gemini"]
    with anthropic.Anthropic(api_key=stage.token, base_url=stage.base, max_retries=0) as client:
        asked = {"model": "gemini-2.5-flash", "max_tokens": 64, "messages": MESSAGES}
        assert client.messages.create(**asked).content
        with client.messages.stream(**asked) as stream:
            assert stream.get_final_message().content
    assert stage.arrived.provider == "gemini"


def gemini(stage: Stage, here: str) -> None:
    assert here == "the same"
    for action in ("generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"):
        assert stage.ask("POST", f"{FLASH}:{action}", GENERATE).status_code == 200


def gemini_before_openai(stage: Stage, here: str) -> None:
    assert code_of(here) == ["provider: openai"]
    for action in ("generateContent", "streamGenerateContent?alt=sse"):
        response = stage.ask("POST", f"/v1beta/models/gpt-4o-mini:{action}", GENERATE)
        assert "candidates" in response.text
        assert stage.arrived.provider == "openai"


def models(stage: Stage, here: str) -> None:
    assert here == "the same"
    assert any("gemini" in model["name"] for model in stage.ask("GET", "/v1beta/models").json()["models"])


def model_string(stage: Stage, here: str) -> None:
    assert here == "the same, in bodies and in Gemini paths"
    model = "gemini:gemini-2.5-pro?temperature=0.7"
    assert chat(stage, model).status_code == 200
    sent = json.loads(stage.arrived.body)
    assert (sent["model"], sent["temperature"]) == ("gemini-2.5-pro", 0.7)
    path = "/v1beta/models/gemini:gemini-2.5-pro%3Ftemperature%3D0.7:generateContent"
    assert stage.ask("POST", path, GENERATE).status_code == 200
    assert stage.arrived.target == "/v1beta/models/gemini-2.5-pro:generateContent"
    assert json.loads(stage.arrived.body)["generationConfig"]["temperature"] == 0.7


def unchanged(stage: Stage, here: str) -> None:
    assert here == "unchanged"
    configuration = {
        "temperature": 0.3, "topP": 0.9, "topK": 20, "maxOutputTokens": 99, "stopSequences": ["X"], "candidateCount": 1,
        "seed": 7, "presencePenalty": 0.1, "frequencyPenalty": 0.1, "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT"}, "responseLogprobs": True, "logprobs": 2,
        "thinkingConfig": {"thinkingBudget": 128, "includeThoughts": True},
    }  # fmt: skip
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    body = GENERATE | {"generationConfig": configuration, "safetySettings": safety}
    body["cachedContent"] = "cachedContents/c1"
    content = json.dumps(body).encode()
    headers = {"x-goog-api-key": stage.token, "content-type": "application/json"}
    httpx.post(f"{stage.base}{FLASH}:generateContent", content=content, headers=headers, timeout=PATIENCE)
    assert stage.arrived.sha256 == hashlib.sha256(content).hexdigest()


def extra_body(stage: Stage, here: str) -> None:
    assert here == "the same"
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    more = {"gemini_safety_settings": safety, "gemini_cached_content": "cachedContents/c1"}
    assert chat(stage, "gemini-2.5-flash", **more).status_code == 200
    google = json.loads(stage.arrived.body)["extra_body"]["google"]
    assert google == {"safety_settings": safety, "cached_content": "cachedContents/c1"}


def login_backends(_: Stage, here: str) -> None:
    section, setting = code_of(here)
    client = "google: {oauth_client: {id: env:ID, secret: env:SECRET}}"
    for name in code_of(LOGIN_BACKENDS):
        shown = f"{section}: {{{name}: {{{setting}}}}}\n{client}\n"
        read = read_setting(shown, {"ID": "an-id", "SECRET": "a-secret"}).backends
        is_local = read.part(LocalProgramSetting).gemini_cli_acp.enabled
        assert {*read.enabled(), *(["gemini-cli-acp"] if is_local else [])} == {name}


LOGIN_BACKENDS = (
    "`gemini-oauth-plan`, `gemini-oauth-free`, `gemini-oauth-auto`, `gemini-cli-cloud-project`, `gemini-cli-acp`"
)
CHECKS = {
    "`GEMINI_API_KEY_1`, `GEMINI_API_KEY_2`": keys,
    "`LLM_INTERACTIVE_PROXY_API_KEY`": proxy_key,
    "`DISABLE_AUTH=true`": without_key,
    "`LLM_BACKEND=gemini`, `--default-backend gemini`": default_backend,
    LOGIN_BACKENDS: login_backends,
    "selection of accounts: session-affinity, random, first-available, round-robin": selection,
    "session affinity: 86400 s, 10000 entries": affinity,
    "fallback to `gemini-2.5-flash` at a rate limit": fallback,
    "`disable_fallback`, `DISABLE_GEMINI_OAUTH_FALLBACK`": no_fallback,
    "temperature above 1 for older models": clamped,
    "`http://localhost:8000`": address,
    "`POST /v1/chat/completions` with a Gemini model": chats,
    "`POST /v1/messages` with a Gemini model": messages,
    "`POST /v1beta/models/{model}:generateContent`, `:streamGenerateContent`": gemini,
    "`POST /v1beta/models/{model}:generateContent` with OpenAI behind": gemini_before_openai,
    "`GET /v1beta/models`": models,
    "model `gemini:gemini-2.5-pro?temperature=0.7`": model_string,
    "`generationConfig`, `safetySettings`, `cachedContent`, `thinkingConfig`": unchanged,
    "`extra_body.gemini_safety_settings`, `extra_body.gemini_cached_content`": extra_body,
    "a curl line without any key": without_key,
}


test_what_a_row_says_is_so, test_every_check_belongs_to_a_row = row_tests(PAGE, CHECKS)
