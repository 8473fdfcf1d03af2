"""Each row of docs/coming-from/gemini-calo.md, run against a Wirekey with the configuration of the page."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import shutil
import tempfile
from pathlib import Path

import httpx
import pytest
from ruamel.yaml import YAML

from tests.coming_from.pages import code_of, row_tests
from tests.coming_from.stage import GENERATE, Stage, read_setting, shown_configuration, staged
from tests.docs.pages import blocks_of
from tests.support.local_server import local_server
from tests.support.running import PATIENCE, PROVIDER_KEYS, SimulatorThread, wait_for
from wirekey.server.runtime import RunningProxy

PAGE = "docs/coming-from/gemini-calo.md"
FLASH = "/v1beta/models/gemini-2.5-flash"
SECOND_KEY = "AIza-second-gemini-key-31cc"
CORP_KEYS = ("sk-corp-1-9f2e", "sk-corp-2-77aa")
CHAT = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "Say hello."}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Say hello."}]}]}
INVOKE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": CHAT["messages"]}
CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"
BEARER = {"x_aws_bearer_token": PROVIDER_KEYS["bedrock"]}
PAIR = ("AKIACLIENT0000000001", "secret-of-the-client-1c7a")
MODULES = {
    "my_auth.py": 'async def token(call, head):\n    return {"Authorization": "Bearer sk-made-by-a-function"}\n',
    "choice.py": 'async def model(call, head):\n    return "gemini-2.5-flash-lite"\n',
}


@pytest.fixture(scope="module")
def local():
    with local_server() as running:
        yield running


@pytest.fixture(scope="module")
def stage(tmp_path_factory, local):
    keys = {name: [key] for name, key in PROVIDER_KEYS.items()}
    keys["gemini"].append(SECOND_KEY)
    keys["openai"] = [*CORP_KEYS, "sk-made-by-a-function"]
    pairs = dict([PAIR])
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys, aws_credentials=pairs)
    folder = tmp_path_factory.mktemp("wirekey")
    for name, text in MODULES.items():
        (folder / name).write_text(text)
    environ = {"GEMINI_API_KEYS": f"{PROVIDER_KEYS['gemini']},{SECOND_KEY}", "CORP_KEYS": ",".join(CORP_KEYS)}
    places = {"https://llm.corp.example": simulator.url, "http://127.0.0.1:11434": local.url}
    with staged(folder, simulator, shown_configuration(PAGE), environ, places) as stage:
        stage.local = local
        yield stage
    simulator.stop()


def chat(stage: Stage, model: str = CHAT["model"], path: str = "/v1/chat/completions", **headers: str):
    return stage.ask("POST", path, CHAT | {"model": model}, **headers)


def setting_of(here: str):
    """Return the configuration that the variable in a cell gives, and its value."""
    name, _, value = code_of(here)[0].partition("=")
    return read_setting("{}", {name: value}), value


def gemini_keys(stage: Stage, here: str) -> None:
    reference = shown_configuration(PAGE)["providers"]["gemini"]["keys"]
    assert code_of(here)[0] == f"providers.gemini.keys: [{', '.join(reference)}]"
    for _ in range(2):
        assert stage.ask("POST", f"{FLASH}:generateContent", GENERATE).status_code == 200
    sent = {dict(seen.headers)[b"x-goog-api-key"].decode() for seen in stage.simulator.seen}
    assert sent == {PROVIDER_KEYS["gemini"], SECOND_KEY}


def proxy_keys(stage: Stage, here: str) -> None:
    tokens = [secrets.token_urlsafe(32) for _ in range(2)]
    file = stage.wirekey.folder / "keys.json"
    file.write_text(json.dumps([{"agent": f"old-{token[:6]}", code_of(here)[1]: token} for token in tokens]))
    _, *arguments, _ = code_of(here)[0].split()
    stage.command(*arguments, str(file))
    for token in tokens:
        stage.accepts(token)
    assert stage.ask("GET", "/v1/models", token="", x_goog_api_key=tokens[0]).status_code == 200
    assert stage.ask("GET", "/v1/models", token="my-secret-key").status_code == 401


def nobody_is_asked(stage: Stage, here: str) -> None:
    name, _, value = code_of(here)[0].partition("=")
    with stage.again({name: value}) as other:
        assert other.ask("POST", f"{FLASH}:generateContent", GENERATE, token="").status_code == 200


def port(_: Stage, here: str) -> None:
    config, value = setting_of(here)
    assert str(config.listen.gateway) == value


def log_level(_: Stage, here: str) -> None:
    config, value = setting_of(here)
    assert config.log.level == value.lower()
    for level in ("INFO", "WARNING", "ERROR", "CRITICAL"):
        assert read_setting(f"log: {{level: {level}}}").log.level == level.lower()


def log_file(_: Stage, here: str) -> None:
    config, value = setting_of(here)
    assert config.log.file.name == value


def log_bodies(stage: Stage, here: str) -> None:
    name, _, value = code_of(here)[0].partition("=")
    with stage.again({name: value}) as other:
        assert chat(other).status_code == 200
        file = other.wirekey.folder / value
        lines = wait_for(lambda: file.exists() and file.read_text().count("\n") >= 2 and file.read_text(), "the lines")
    assert "Say hello." in lines
    assert PROVIDER_KEYS["gemini"] not in lines


def model_override(stage: Stage, here: str) -> None:
    name, _, value = code_of(here)[0].partition("=")
    with stage.again({name: value}) as other:
        assert other.ask("POST", "/v1beta/models/gemini-2.5-pro:generateContent", GENERATE).status_code == 200
        assert other.arrived.target == f"/v1beta/models/{value}:generateContent"


def summaries(stage: Stage, here: str) -> None:
    name, _, value = code_of(here)[0].partition("=")
    messages = [{"role": "user", "content": f"{number} {'word ' * 900}"} for number in range(2)]
    with stage.again({name: value, "WIREKEY_ROLLUP__THRESHOLD": "4096"}) as other:

        def ask(messages: list[dict]) -> dict:
            response = other.ask("POST", "/v1/chat/completions", {**CHAT, "messages": messages})
            assert response.status_code == 200
            return response.json()["choices"][0]["message"]

        said = ask(messages[:1])

        def shortened() -> str | None:
            other.simulator.forget()
            ask([messages[0], said, messages[1]])
            sent = next(seen for seen in other.simulator.seen if "chat/completions" in seen.target)
            system, *_ = json.loads(sent.body)["messages"]
            return system["content"] if system["role"] == "system" else None

        assert wait_for(shortened, "the summary").startswith("Context of the conversation so far:")
        events = [event for event in other.wirekey.finished_events(2) if event["operation"] == "rollup.summary"]
    assert events[0]["model"] == "gemini-2.5-flash"


def rollup_setting(name: str):
    def check(_: Stage, here: str) -> None:
        variable, _, value = code_of(here)[0].partition("=")
        assert variable == f"WIREKEY_ROLLUP__{name.upper()}"
        found = getattr(read_setting("{}", {variable: value.strip('"')}).rollup, name)
        assert str(found) == value.strip('"')
        usual = getattr(read_setting("{}").rollup, name)
        assert isinstance(usual, str) or usual == found

    return check


def model_function(stage: Stage, here: str) -> None:
    _, _, value = code_of(here)[0].partition(": ")
    chosen = value.strip('"').replace("MODULE", "choice").replace("FUNCTION", "model")
    with stage.again(model_override=chosen) as other:
        assert chat(other).status_code == 200
        assert other.event()["model"] == "gemini-2.5-flash-lite"


def key_function(stage: Stage, here: str) -> None:
    example = next(block for block in blocks_of("docs/guides/extending.md") if block.about.get("file") == "my_keys.py")
    (shown,) = re.findall("[0-9a-f]{64}", example.text)
    digest = hashlib.sha256(b"old-keys").hexdigest()
    text = example.text.replace(shown, digest).replace('"reports"', '"alice"')
    (stage.wirekey.folder / "my_keys.py").write_text(text)
    named = code_of(here)[0].replace("MODULE", "my_keys").replace("FUNCTION", "agent")
    with stage.again(**YAML(typ="safe").load(named)) as other:
        for token, status in (("old-keys", 200), ("old-kays", 401)):
            assert other.ask("POST", "/v1/chat/completions", CHAT, token=token).status_code == status
            headers = {"token": "", "x_goog_api_key": token}
            assert other.ask("POST", f"{FLASH}:generateContent", GENERATE, **headers).status_code == status
        events = other.wirekey.finished_events(4, other.since)
    assert [event["agent_id"] for event in events] == ["alice", "alice", None, None]


def dotenv(stage: Stage, here: str) -> None:
    folder = stage.wirekey.folder / "with-dotenv"
    folder.mkdir()
    (folder / code_of(here)[0]).write_text("export GEMINI_API_KEYS=AIza-a,AIza-b\n")
    (folder / code_of(here)[0]).chmod(0o600)
    (folder / code_of(here)[1]).write_text("providers: {gemini: {keys: [env:GEMINI_API_KEYS]}}\n")
    arguments = ["config", "check", "--config", str(folder / "wirekey.yaml")]
    stage.command(*arguments)


def routes(stage: Stage, here: str) -> None:
    assert code_of(here) == ["routes", "match"]
    assert chat(stage, "corp-large").status_code == 200
    assert stage.event()["route"] == "routes[0]"
    assert stage.sent("authorization").removeprefix("Bearer ") in CORP_KEYS


def plain_upstream(stage: Stage, here: str) -> None:
    assert code_of(here) == ["upstream_url"]
    stage.local.arrived.clear()
    assert chat(stage, "llama3.2").json()["choices"][0]["message"]["content"] == "Hello!"
    assert stage.local.arrived[0].path == "/api/v1/chat/completions"


def route_keys(stage: Stage, here: str) -> None:
    assert code_of(here) == ["keys"]
    for _ in range(2):
        chat(stage, "corp-large")
    sent = {dict(seen.headers)[b"authorization"].decode() for seen in stage.simulator.seen}
    assert sent == {f"Bearer {key}" for key in CORP_KEYS}


def route_auth(stage: Stage, here: str) -> None:
    assert code_of(here) == ["auth"]
    stage.local.arrived.clear()
    chat(stage, "llama3.2")
    chat(stage, "corp-large")
    assert "authorization" not in stage.local.arrived[0].headers
    assert stage.sent("authorization").startswith("Bearer sk-corp-")


def auth_function(stage: Stage, here: str) -> None:
    assert code_of(here)[0].partition(": ")[2].strip('"') == shown_configuration(PAGE)["routes"][1]["auth"]
    assert chat(stage, "signed-model").status_code == 200
    assert stage.sent("authorization") == "Bearer sk-made-by-a-function"


def time_limit(_: Stage, here: str) -> None:
    assert code_of(here) == ["timeouts.first_byte"]
    assert shown_configuration(PAGE)["timeouts"] == {"first_byte": 300}
    text = "routes: [{match: a, provider: gemini, timeouts: {first_byte: 300}}]\nproviders: {gemini: {keys: [env:A]}}"
    assert read_setting(text, {"A": "AIza-a"}).routes[0].timeouts.first_byte == 300


def default_upstream(stage: Stage, here: str) -> None:
    assert code_of(here) == [f"default_backend: {shown_configuration(PAGE)['default_backend']}"]
    for model in ("gemma-3-27b-it", "learnlm-2.0-flash"):
        chat(stage, model)
        assert stage.event()["provider"] == "gemini"
        stage.begin()
    assert stage.ask("POST", f"/model/{CLAUDE}/converse", CONVERSE, **BEARER).status_code == 200
    assert stage.event()["provider"] == "bedrock"


def aws_of_a_route(stage: Stage, here: str) -> None:
    pair = {"access_key": "env:ROUTE_ACCESS", "secret_key": "env:ROUTE_SECRET"}
    aws, region = code_of(here)
    route = {"match": "*", "provider": "bedrock", aws: pair, region: "eu-west-1"}
    environ = {"ROUTE_ACCESS": PAIR[0], "ROUTE_SECRET": PAIR[1]}
    providers = stage.configuration["providers"]
    bedrock = {"regions": ["us-east-1"], "aws": {"bearer": "env:ROUTE_SECRET"}}
    with stage.again(environ, routes=[route], providers={**providers, "bedrock": bedrock}) as other:
        assert other.ask("POST", f"/model/{CLAUDE}/converse", CONVERSE).status_code == 200
        assert f"{PAIR[0]}/" in other.sent("authorization")
        assert "/eu-west-1/bedrock/" in other.sent("authorization")


def middleware(stage: Stage, here: str) -> None:
    tagging = next(block for block in blocks_of("docs/guides/extending.md") if block.about.get("file") == "tagging.py")
    (stage.wirekey.folder / "tagging.py").write_text(tagging.text)
    named = code_of(here)[0].partition("[")[2].strip('"]').replace("MODULE", "tagging").replace("CLASS", "Tagging")
    with stage.again(extensions=[named]) as other:
        assert chat(other).status_code == 200
        assert other.sent("x-request-id")
        assert "user_id" in json.loads(other.arrived.body)


def beside_an_application(stage: Stage, here: str) -> None:
    assert code_of(here) == ["wirekey serve"]
    beside = next(block for block in blocks_of("docs/guides/extending.md") if block.about.get("file") == "beside.py")
    names: dict = {}
    exec(compile(beside.text, "beside.py", "exec"), names)  # the code of the guide
    with tempfile.TemporaryDirectory() as folder:
        for module in stage.wirekey.folder.glob("*.py"):
            shutil.copy(module, folder)
        dotenv = Path(folder) / ".env"
        dotenv.touch(0o600)
        dotenv.write_text("".join(f"{name}={value}\n" for name, value in stage.environ.items()))
        file = Path(folder) / "wirekey.yaml"
        file.write_text(json.dumps({**stage.configuration, "state": f"{folder}/state", "certs": f"{folder}/certs"}))

        async def lifespan() -> tuple[bool, int]:
            async with names["wirekey"](str(file)) as process:
                running = await asyncio.to_thread(wait_for, lambda: RunningProxy.read(file.parent / "state"), "Wirekey")
                ready = httpx.get(f"http://{running.gateway}/ready", timeout=PATIENCE).status_code == 200
            return ready, process.returncode

        assert asyncio.run(lifespan()) == (True, 0)


def both(stage: Stage, here: str, paths: list[str], body: dict) -> None:
    assert here == "the same"
    for path in paths:
        stage.begin()
        response = stage.ask("POST", path, body)
        assert response.status_code == 200, response.text
        assert (stage.event()["provider"], stage.event()["outcome"]) == ("gemini", "completed")


def chats(stage: Stage, here: str) -> None:
    both(stage, here, ["/v1/chat/completions", "/v1beta/openai/chat/completions"], CHAT)


def embeddings(stage: Stage, here: str) -> None:
    body = {"model": "gemini-embedding-001", "input": "hello"}
    both(stage, here, ["/v1/embeddings", "/v1beta/openai/embeddings"], body)


def models(stage: Stage, here: str) -> None:
    assert here.startswith("the same")
    assert any("gemini" in model["id"] for model in stage.ask("GET", "/v1/models").json()["data"])
    assert stage.ask("GET", "/v1beta/models").json()["models"]


def native(stage: Stage, here: str) -> None:
    both(stage, here, [f"{FLASH}:generateContent", f"{FLASH}:streamGenerateContent?alt=sse"], GENERATE)
    embed = {"content": {"parts": [{"text": "hello"}]}}
    both(stage, here, ["/v1beta/models/text-embedding-004:embedContent"], embed)


def bedrock(stage: Stage, here: str) -> None:
    assert here == "the same"
    actions = {
        "invoke": INVOKE,
        "invoke-with-response-stream": INVOKE,
        "converse": CONVERSE,
        "converse-stream": CONVERSE,
    }
    for action, body in actions.items():
        response = stage.ask("POST", f"/model/{CLAUDE}/{action}", body, **BEARER)
        assert (response.status_code, bool(response.content)) == (200, True), response.text


def places_of_a_key(stage: Stage, here: str) -> None:
    assert here == "the same"
    token = secrets.token_urlsafe(32)
    stage.bring(agent=f"key-{token[:6]}", token=token)
    stage.accepts(token)
    assert stage.ask("POST", f"{FLASH}:generateContent", GENERATE, token="", x_goog_api_key=token).status_code == 200


def aws_bearer(stage: Stage, here: str) -> None:
    assert here == "the same"
    assert stage.ask("POST", f"/model/{CLAUDE}/converse", CONVERSE, **BEARER).status_code == 200
    assert stage.sent("authorization") == f"Bearer {PROVIDER_KEYS['bedrock']}"


def aws_pair(stage: Stage, here: str) -> None:
    assert here == "the same"
    headers = {"x_aws_access_key": PAIR[0], "x_aws_secret_key": PAIR[1], "x_aws_region": "eu-west-1"}
    assert stage.ask("POST", f"/model/{CLAUDE}/converse", CONVERSE, **headers).status_code == 200
    assert f"Credential={PAIR[0]}/" in stage.sent("authorization")
    assert "/eu-west-1/bedrock/" in stage.sent("authorization")


def no_aws_header(stage: Stage, here: str) -> None:
    response = stage.ask("POST", f"/model/{CLAUDE}/converse", CONVERSE)
    assert response.status_code == int(here.partition(",")[0])
    assert all(name in response.text for name in ("X-AWS-Bearer-Token", "X-AWS-Access-Key", "X-AWS-Secret-Key"))


def bedrock_headers(stage: Stage, here: str) -> None:
    assert here == "the same"
    headers = {
        "x-amzn-bedrock-trace": "ENABLED_FULL",
        "x-amzn-bedrock-guardrailidentifier": "gr-1",
        "x-amzn-bedrock-guardrailversion": "1",
        "x-amzn-bedrock-performanceconfig-latency": "optimized",
        "x-amzn-bedrock-service-tier": "flex",
    }
    assert stage.ask("POST", f"/model/{CLAUDE}/invoke", INVOKE, **BEARER, **headers).status_code == 200
    assert {name: stage.sent(name) for name in headers} == headers


def content_type(stage: Stage, here: str) -> None:
    assert here == "the same"
    for declared in ("application/x-amz-json-1.1", "text/plain"):
        headers = {"authorization": f"Bearer {stage.token}", "content-type": declared}
        headers["x-aws-bearer-token"] = PROVIDER_KEYS["bedrock"]
        url = f"{stage.base}/model/{CLAUDE}/converse"
        assert httpx.post(url, content=json.dumps(CONVERSE), headers=headers, timeout=PATIENCE).status_code == 200
        assert stage.sent("content-type") == declared


def bare_slash(stage: Stage, here: str) -> None:
    assert here == "the same"
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{CLAUDE}"
    assert stage.ask("POST", f"/model/{arn}/converse", CONVERSE, **BEARER).status_code == 200
    assert stage.event()["requested_model"] == arn


def compressed(stage: Stage, here: str) -> None:
    assert here == "passed on as they are, and counted"
    response = chat(stage, "gemini-2.5-flash-sim-gzip")
    assert response.headers["content-encoding"] == "gzip"
    assert stage.event()["output_tokens"]


def root(stage: Stage, here: str) -> None:
    assert here == "the same"
    assert stage.ask("GET", "/", token="").status_code == 200


CHECKS = {
    "`GEMINI_CALO_API_KEYS`": gemini_keys,
    "`GEMINI_CALO_PROXY_API_KEYS`": proxy_keys,
    "no `GEMINI_CALO_PROXY_API_KEYS`": nobody_is_asked,
    "`GEMINI_CALO_HTTP_PORT`, on all addresses": port,
    "`GEMINI_CALO_LOG_LEVEL`": log_level,
    "`GEMINI_CALO_LOG_FILE`": log_file,
    "requests and responses in that log": log_bodies,
    "`GEMINI_CALO_MODEL_OVERRIDE`": model_override,
    "summaries of long conversations": summaries,
    "`GEMINI_CALO_CONVERSATION_SUMMARIZATION_LRU_CACHE`": rollup_setting("entries"),
    "`GEMINI_CALO_CONVERSATION_SIZE_SUMMARIZATION_THRESHOLD`": rollup_setting("threshold"),
    "`GEMINI_CALO_DEFAULT_SUMMARIZER_PROMPT`": rollup_setting("prompt"),
    "a `.env` file with `export` lines": dotenv,
    "`model_transformer`": model_function,
    "proxy keys: a function": key_function,
    "`model_routes`: pattern → route, the first match": routes,
    "a route's URL with a path, or with `http://`": plain_upstream,
    "a route's `api_keys`, in turn": route_keys,
    "a route's `auth`: bearer, none": route_auth,
    "a route's `auth`: an async function": auth_function,
    "a route's time-out, 300 s": time_limit,
    "no route matches: `base_url`": default_upstream,
    "AWS keys and region of a route": aws_of_a_route,
    "middleware": middleware,
    "its parts in an ASGI application": beside_an_application,
    "`/v1/chat/completions`, `/v1beta/openai/chat/completions`": chats,
    "`/v1/embeddings`, `/v1beta/openai/embeddings`": embeddings,
    "`/v1/models`, `/v1beta/models`": models,
    "`/v1beta/models/{model}:generateContent`, `:streamGenerateContent`, `:embedContent`": native,
    "`/model/{modelId}/invoke`, `/converse`, and their streams": bedrock,
    "`Authorization: Bearer KEY`, `x-goog-api-key: KEY`": places_of_a_key,
    "`X-AWS-Bearer-Token`": aws_bearer,
    "`X-AWS-Access-Key`, `X-AWS-Secret-Key`, `X-AWS-Region`": aws_pair,
    "no AWS header: sent without a signature": no_aws_header,
    "`X-Amzn-Bedrock-Trace`, `X-Amzn-Bedrock-GuardrailIdentifier`, `X-Amzn-Bedrock-Service-Tier`": bedrock_headers,
    "the client's `Content-Type` for Bedrock": content_type,
    "a model id with a bare `/`": bare_slash,
    "compressed responses": compressed,
    "`GET /`": root,
}


test_what_a_row_says_is_so, test_every_check_belongs_to_a_row = row_tests(PAGE, CHECKS)
