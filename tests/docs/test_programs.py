"""Every program in the pages is run by a test: here, or where a real server or another program is needed for it."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from tests.docs.pages import Block, blocks_of, page_names
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind

LANGUAGES = ("python", "js")
ELSEWHERE = {
    "docs/audit-format.md": "tests/audit/test_format.py",
    "docs/guides/extending.md": "tests/end_to_end/test_extensions.py and tests/clients/test_application.py",
    "docs/guides/quotas.md": "tests/features/quotas/test_notice.py and tests/features/batches/test_openai.py",
    "docs/guides/realtime.md": "tests/end_to_end/websocket_clients.py and tests/clients/test_two_way.py",
    "docs/guides/routing.md": "tests/end_to_end/test_routes.py",
    "docs/guides/local-programs.md": "tests/end_to_end/test_local_programs.py, without Gemini CLI",
}
"""Page → the tests that run its programs, or make the same calls."""
NEEDS_A_CLOUD = "azure.identity"
"""The module of programs that need a login of a company. They are only compiled."""
PROGRAMS = [block for page in page_names() for block in blocks_of(page) if block.language in LANGUAGES]
HERE = [block for block in PROGRAMS if block.page not in ELSEWHERE and "file" not in block.about]


def test_the_pages_whose_programs_are_run_elsewhere_have_programs():
    assert {block.page for block in PROGRAMS} >= ELSEWHERE.keys()
    assert len(HERE) >= 4


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A Wirekey whose gateway serves the programs, which hold the key for Gemini themselves."""
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    settings = behind(simulator, listen={"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None})
    settings["providers"]["gemini"] = {"key_source": "client", "upstream_url": simulator.url}
    proxy = Wirekey(tmp_path_factory.mktemp("wirekey"), settings, environ=KEY_ENVIRONMENT)
    yield SimpleNamespace(proxy=proxy, token=proxy.add_agent("alice"))
    proxy.stop()
    simulator.stop()


def client_of(block: Block, running) -> Any:
    """Run a program with the values of this machine in place of those of the page. Return its client."""
    values = {
        "127.0.0.1:8000": running.proxy.running.gateway,
        "wk_…": running.token,
        "eyJ…": running.token,
        "AIza…": PROVIDER_KEYS["gemini"],
    }
    text = block.text
    for shown, here in values.items():
        text = text.replace(shown, here)
    names: dict[str, Any] = {}
    exec(compile(text, block.name, "exec"), names)  # the code of the page
    return names["client"]


def openai_call(client) -> str:
    said = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello?"}])
    return said.choices[0].message.content


def gemini_call(client) -> str:
    return client.models.generate_content(model="gemini-2.5-flash", contents="Hello?").text


def azure_client(client) -> str:
    """Its calls need a resource. tests/features/custom_providers/test_end_to_end.py makes them."""
    return str(client.base_url)


def mistral_call(client) -> str:
    said = client.chat.complete(model="mistral-small-latest", messages=[{"role": "user", "content": "Hello?"}])
    return said.choices[0].message.content


CALLS = {
    "openai.OpenAI": openai_call,
    "openai.AzureOpenAI": azure_client,
    "google.genai": gemini_call,
    "mistralai.client.Mistral": mistral_call,
}
"""What a program imports first → what is tried with its client."""


def imported(block: Block) -> str:
    _, module, _, name = block.text.splitlines()[0].replace(",", "").split()[:4]
    return f"{module}.{name}"


@pytest.mark.parametrize("block", HERE, ids=lambda block: block.name)
def test_a_program_runs(block, running, monkeypatch):
    if imported(block).startswith(NEEDS_A_CLOUD):
        compile(block.text, block.name, "exec")
        return
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    assert CALLS[imported(block)](client_of(block, running))
