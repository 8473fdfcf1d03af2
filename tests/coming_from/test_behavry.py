"""Each row of docs/coming-from/behavry.md, run against a Wirekey with the configuration of the page."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import httpx
import openai
import pytest
from google import genai
from ruamel.yaml import YAML

from tests.coming_from.pages import code_of, row_tests
from tests.coming_from.stage import CHAT, GENERATE, Stage, read_setting, shown_configuration, staged
from tests.support.policies import BEHAVRY_GEMINI, BEHAVRY_OPENAI
from tests.support.running import EVERYTHING, PATIENCE, PROVIDER_KEYS, SimulatorThread, wait_for

PAGE = "docs/coming-from/behavry.md"
CHECKOUT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/tmp") / ".cache")
OPENAI = {"x_openai_key": PROVIDER_KEYS["openai"]}
GEMINI = {"x_gemini_key": PROVIDER_KEYS["gemini"]}
COMPLETIONS = "/api/v1/openai/v1/chat/completions"
FLASH = "/api/v1/gemini/v1beta/models/gemini-2.0-flash"
CLIENT = {"client_id": "billing-7d0e5a51", "client_secret": secrets.token_hex(32)}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "policies").mkdir()
    (folder / "policies" / "gemini.rego").write_text(BEHAVRY_GEMINI)
    (folder / "policies" / "openai.rego").write_text(BEHAVRY_OPENAI)
    with staged(folder, simulator, shown_configuration(PAGE), {}) as stage:
        stage.bring(agent="billing", type="autonomous", permissions=["web:read", "web:write"], **CLIENT)
        stage.token = wait_for(lambda: jwt_of(stage, CLIENT), "the imported agent")
        yield stage
    simulator.stop()


def jwt_of(stage: Stage, client: dict[str, str]) -> str | None:
    asked = {**client, "grant_type": "client_credentials"}
    response = httpx.post(f"{stage.base}/api/v1/auth/token", json=asked, timeout=PATIENCE)
    return response.json()["access_token"] if response.status_code == 200 else None


def chat(stage: Stage, **headers: str):
    return stage.ask("POST", COMPLETIONS, CHAT, **OPENAI, **headers)


def gemini_base_url(stage: Stage, here: str) -> None:
    headers = {"X-Gemini-Key": PROVIDER_KEYS["gemini"]}
    options = {"base_url": stage.base + code_of(here)[0], "headers": headers}
    client = genai.Client(api_key=stage.token, http_options=options)
    assert client.models.generate_content(model="gemini-2.0-flash", contents="hello").text
    assert len(list(client.models.generate_content_stream(model="gemini-2.0-flash", contents="hello"))) > 1


def openai_base_url(stage: Stage, here: str) -> None:
    headers = {"X-OpenAI-Key": PROVIDER_KEYS["openai"]}
    base = stage.base + code_of(here)[0]
    client = openai.OpenAI(api_key=stage.token, base_url=base, default_headers=headers, max_retries=0)
    assert client.chat.completions.create(**CHAT).choices
    assert list(client.chat.completions.create(**CHAT, stream=True))


def gemini_key(stage: Stage, here: str) -> None:
    response = stage.ask("POST", f"{FLASH}:generateContent", GENERATE, **{code_of(here)[0]: PROVIDER_KEYS["gemini"]})
    assert response.status_code == 200
    assert stage.sent("x-goog-api-key") == PROVIDER_KEYS["gemini"]
    assert stage.sent("x-gemini-key") is None


def openai_key(stage: Stage, here: str) -> None:
    assert stage.ask("POST", COMPLETIONS, CHAT, **{code_of(here)[0]: PROVIDER_KEYS["openai"]}).status_code == 200
    assert stage.sent("authorization") == f"Bearer {PROVIDER_KEYS['openai']}"
    assert stage.sent("x-openai-key") is None


def bearer(stage: Stage, here: str) -> None:
    assert here == "the same"
    assert chat(stage).status_code == 200
    assert stage.event()["agent_id"] == "billing"


def sdk_key(stage: Stage, here: str) -> None:
    assert here == "the same"
    asked = stage.ask("POST", f"{FLASH}:generateContent", GENERATE, token="", x_goog_api_key=stage.token, **GEMINI)
    assert asked.status_code == 200
    assert stage.event()["agent_id"] == "billing"


LANGCHAIN = """
import sys
from langchain_openai import ChatOpenAI
base, token, key = sys.argv[1:]
settings = {"openai_api_base": base, "openai_api_key": token, "default_headers": {"X-OpenAI-Key": key}}
model = ChatOpenAI(model="gpt-4o-mini", **settings)
print(model.invoke("hello").content)
"""


def langchain(stage: Stage, here: str) -> None:
    assert here == "the same"
    said = run_program(LANGCHAIN, f"{stage.base}/api/v1/openai/v1", stage.token, PROVIDER_KEYS["openai"])
    assert "Hello" in said


OLD_SDK = """
import sys
import google.generativeai as genai
base, token, key = sys.argv[1:]
genai.configure(api_key=token, transport="rest", client_options={"api_endpoint": base},
                default_metadata=[("x-gemini-key", key)])
model = genai.GenerativeModel("gemini-2.0-flash")
print(model.generate_content("Hi").text)
print("".join(chunk.text for chunk in model.generate_content("Hi", stream=True)))
"""


def old_sdk(stage: Stage, here: str) -> None:
    (query,) = code_of(here)
    said = run_program(OLD_SDK, f"{stage.base}/api/v1/gemini", stage.token, PROVIDER_KEYS["gemini"])
    plain, streamed = said.splitlines()
    assert plain == streamed != ""
    assert stage.arrived.target.endswith(":streamGenerateContent?" + urlencode([tuple(query.split("=", 1))]))
    assert stage.event()["output_tokens"]


def run_program(source: str, *arguments: str) -> str:
    """Run a program with the libraries of the frameworks' environment, and return what it prints."""
    python = CACHE / "wirekey-frameworks" / "bin" / "python"
    if not python.exists():
        pytest.skip("The frameworks are not installed. Run .ci/run.")
    command = [python, "-c", source, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 2, env={"HOME": "/nonexistent"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def any_path(stage: Stage, here: str) -> None:
    stage.ask("GET", "/api/v1/openai/v1/vector_stores?limit=2", **OPENAI)  # the simulator has no vector stores
    assert stage.arrived.target == "/v1/vector_stores?limit=2"
    assert stage.event()["operation"] == "vector_stores.list"
    stage.begin()
    stage.ask("GET", "/api/v1/gemini/v1beta/undocumented/things", **GEMINI)
    (other,) = code_of(here)
    assert (stage.event()["operation"], stage.arrived.target) == (other, "/v1beta/undocumented/things")


def no_jwt(stage: Stage, here: str) -> None:
    for token in ("", "eyJhbGciOiJFZERTQSJ9.e30.AA"):
        assert stage.ask("POST", COMPLETIONS, CHAT, token=token, **OPENAI).status_code == int(here)


def no_key(stage: Stage, here: str) -> None:
    response = stage.ask("POST", COMPLETIONS, CHAT)
    assert response.status_code == int(here.partition(",")[0])
    assert "X-OpenAI-Key" in response.text


def without_permission(stage: Stage, here: str) -> None:
    token = stage.wirekey.add_agent("reader", permissions=("web:read",))
    assert stage.ask("POST", COMPLETIONS, CHAT, token=token, **OPENAI).status_code == int(here)


def streamed(stage: Stage, here: str) -> None:
    """The simulator sends two events and then nothing, so they can only arrive at once."""
    assert here == "the same"
    body = CHAT | {"model": "gpt-4o-mini-sim-stall-2", "stream": True}
    url, token = stage.base + COMPLETIONS, stage.wirekey.add_agent(f"streaming-{secrets.token_hex(3)}")
    # The policy restricts the models of the imported agent.
    headers = {"authorization": f"Bearer {token}", "x-openai-key": PROVIDER_KEYS["openai"]}
    with httpx.stream("POST", url, json=body, headers=headers, timeout=PATIENCE) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert next(response.iter_lines()).startswith("data: ")


def time_limit(stage: Stage, here: str) -> None:
    group, _, name = code_of(here)[0].partition(".")
    assert f"{getattr(getattr(read_setting('{}'), group), name):g} by default" in here
    with stage.again(timeouts={name: 0.5}, policy={"path": str(EVERYTHING)}) as other:
        body = CHAT | {"model": "gpt-4o-mini-sim-stall-0"}
        assert other.ask("POST", COMPLETIONS, body, **OPENAI).status_code == 504


def imported(stage: Stage, here: str) -> None:
    client = {"client_id": "reports-11", "client_secret": secrets.token_hex(32)}
    file = stage.wirekey.folder / "agents.json"
    file.write_text(json.dumps([{"agent": "reports", "role": "batch", **client}]))
    _, *arguments, _ = code_of(here)[0].split()
    stage.command(*arguments, str(file))
    assert wait_for(lambda: jwt_of(stage, client), "the imported agent")


def token_endpoint(stage: Stage, here: str) -> None:
    method, path = code_of(here)[0].split()
    response = httpx.request(method, stage.base + path, json={**CLIENT, "grant_type": "client_credentials"})
    assert {"access_token", "token_type", "expires_in"} <= response.json().keys()


def provisioned(stage: Stage, here: str) -> None:
    _, *arguments = code_of(here)[0].replace("NAME", "provisioned").split()
    made = json.loads(stage.command(*arguments))
    client = {name: made[name] for name in ("client_id", "client_secret")}
    assert wait_for(lambda: jwt_of(stage, client), "the new agent")


def set_agent(stage: Stage, here: str) -> None:
    name = f"changed-{secrets.token_hex(4)}"
    stage.wirekey.add_agent(name, permissions=())
    _, *arguments = code_of(here)[0].replace("NAME", name).replace("ROLE", "lead").replace("TYPE", "batch").split()
    stage.command(*arguments)
    shown = json.loads(stage.command("agents", "show", name, "--json"))
    expected = (
        {"permissions": ["web:read", "web:write"]} if "--permission" in here else {"role": "lead", "type": "batch"}
    )
    assert {name: shown[name] for name in expected} == expected


def policy(stage: Stage, here: str) -> None:
    assert code_of(here) == ["policy.query: data.behavry.authz"]
    assert shown_configuration(PAGE)["policy"]["query"] == "data.behavry.authz"
    assert chat(stage).status_code == 200
    assert stage.ask("POST", COMPLETIONS, CHAT | {"model": "gpt-4o"}, **OPENAI).status_code == 403
    other = FLASH.replace("2.0", "2.5")
    assert stage.ask("POST", f"{other}:generateContent", GENERATE, **GEMINI).status_code == 403


def without_a_model(stage: Stage, here: str) -> None:
    assert "as in OPA" in here
    assert stage.ask("GET", "/api/v1/gemini/v1beta/models", **GEMINI).status_code == 200


def policy_input(stage: Stage, here: str) -> None:
    assert here == "the same"
    reader = stage.wirekey.add_agent("looker", role="read-only")
    asked = stage.ask("POST", f"{FLASH}:generateContent", GENERATE, token=reader, **GEMINI)
    assert asked.status_code == 403  # by mcp_server and agent_role; the rest is in `policy`
    policy(stage, "`policy.query: data.behavry.authz`")


def names_of_gemini(stage: Stage, here: str) -> None:
    assert here == "the same"
    stage.ask("POST", f"{FLASH}:generateContent", GENERATE, **GEMINI)
    event = stage.event()
    assert (event["tool_name"], event["mcp_server"]) == ("gemini-api", "gemini-proxy")


def names_of_openai(stage: Stage, here: str) -> None:
    assert here == "the same"
    chat(stage)
    event = stage.event()
    assert (event["tool_name"], event["mcp_server"]) == ("openai-api", "openai-proxy")


def action(stage: Stage, here: str) -> None:
    assert here == "the same"
    chat(stage)
    assert (stage.event()["action"], stage.event()["policy_result"]) == ("POST", "allow")


def target(stage: Stage, here: str) -> None:
    assert here == "the same"
    chat(stage)
    assert stage.event()["target"] == "/openai/v1/chat/completions"


def facts(stage: Stage, here: str) -> None:
    tools = [{"functionDeclarations": [{"name": "f"}]}]
    body = GENERATE | {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "tools": tools}
    stage.ask("POST", f"{FLASH}:generateContent", body, **GEMINI)
    assert [stage.event()[name] for name in code_of(here)] == ["gemini-2.0-flash", 1, 1, 1]


def counts(stage: Stage, here: str) -> None:
    for path in (f"{FLASH}:generateContent", f"{FLASH}:streamGenerateContent?alt=sse"):
        stage.begin()
        stage.ask("POST", path, GENERATE, **GEMINI)
        event = stage.event()
        assert all(event[name] for name in code_of(here)), event


def compose(_: Stage, here: str) -> None:
    file = code_of(here)[0].split()[3]
    services = YAML(typ="safe").load((CHECKOUT / file).read_text())["services"]
    assert any("8000" in str(service.get("ports")) for service in services.values())


def live_page(stage: Stage, here: str) -> None:
    address, command = code_of(here)
    assert str(read_setting("{}").listen.console) in address
    page = httpx.get(f"http://{stage.wirekey.running.console}/health")
    assert page.json() == {"status": "ok"}
    assert stage.command(*command.split()[1:], "--help")


CHECKS = {
    "base URL `…/api/v1/gemini`": gemini_base_url,
    "base URL `…/api/v1/openai/v1`": openai_base_url,
    "`X-Gemini-Key`": gemini_key,
    "`X-OpenAI-Key`": openai_key,
    "`Authorization: Bearer JWT`": bearer,
    "the JWT as the SDK's API key (`x-goog-api-key`)": sdk_key,
    "LangChain's `openai_api_base` and `default_headers`": langchain,
    "the SDK `google-generativeai` (REST)": old_sdk,
    "any path below the prefix": any_path,
    "`text/event-stream` without a buffer": streamed,
    "401 without a valid JWT": no_jwt,
    "401 without the provider's key": no_key,
    "403 without a permission": without_permission,
    "504 after 120 s": time_limit,
    "agents with `client_id` and `client_secret`": imported,
    "`POST /api/v1/auth/token` with JSON": token_endpoint,
    "the provisioning script": provisioned,
    "permissions `web:read` and `web:write`": set_agent,
    "an agent's role and type": set_agent,
    "`package behavry.authz` with `deny if`, and no import line": policy,
    "`not startswith(input.model, …)` where a request has no model": without_a_model,
    "`input.mcp_server`, `input.tool_name`, `input.agent_role`, `input.agent_type`, `input.model`": policy_input,
    "`tool_name: gemini-api`, `mcp_server: gemini-proxy`": names_of_gemini,
    "`tool_name: openai-api`, `mcp_server: openai-proxy`": names_of_openai,
    "`action: POST`, `policy_result: allow`": action,
    "`target: /openai/v1/chat/completions`": target,
    "model, number of contents, system instruction, tools": facts,
    "`promptTokenCount`, `candidatesTokenCount`, finish reason": counts,
    "`docker compose up`": compose,
    "the page with live activity": live_page,
}


test_what_a_row_says_is_so, test_every_check_belongs_to_a_row = row_tests(PAGE, CHECKS)
