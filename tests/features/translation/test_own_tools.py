"""Refusals of tools and blocks that one provider has name them; other words of a program are never said."""

import json

import pytest

from tests.features.translation.cases import MODELS, PLAIN, STATES
from wirekey.core.errors import Refusal
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.requests import Options, translate_request

USER = {"role": "user", "content": "Hi"}
TOOLS = {
    ("openai.responses", "web_search"): {"tools": [{"type": "web_search"}]},
    ("openai.responses", "web_search_preview"): {"tools": [{"type": "web_search_preview_2025_03_11"}]},
    ("openai.responses", "file_search"): {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]},
    ("openai.responses", "code_interpreter"): {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    ("openai.responses", "mcp"): {"tools": [{"type": "mcp", "server_label": "s"}]},
    ("openai.chat", "web_search"): {"tools": [{"type": "web_search"}]},
    ("anthropic", "web_search"): {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    ("anthropic", "bash"): {"tools": [{"type": "bash_20250124", "name": "bash"}]},
    ("anthropic", "text_editor"): {"tools": [{"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}]},
    ("gemini", "googleSearch"): {"tools": [{"googleSearch": {}}]},
    ("gemini", "codeExecution"): {"tools": [{"code_execution": {}}]},
    ("converse", "systemTool"): {"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}},
}  # fmt: skip
BLOCKS = {
    ("openai.responses", "file_search"): {"input": [USER, {"type": "file_search_call", "id": "x", "queries": []}]},
    ("openai.responses", "tool_choice"): {"tool_choice": {"type": "web_search"}},
    ("anthropic", "server_tool_use"): {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]},
    ("anthropic", "web_search"): {"messages": [{"role": "user", "content": [{"type": "web_search_tool_result"}]}]},
    ("gemini", "executableCode"): {"contents": [{"role": "model", "parts": [{"executableCode": {"code": "1"}}]}]},
    ("converse", "guardContent"): {"messages": [{"role": "user", "content": [{"guardContent": {"text": {}}}]}]},
    ("converse", "server_tool_use"): {"messages": [{"role": "assistant", "content": [
        {"toolUse": {"toolUseId": "x", "name": "n", "input": {}, "type": "server_tool_use"}},
    ]}]},
}  # fmt: skip


def translated(client, more, *allowed):
    (upstream,) = {"anthropic": ["gemini"]}.get(client, ["anthropic"])
    body = json.dumps({**PLAIN[client], **more}).encode()
    options = Options(allowed=frozenset(allowed))
    return translate_request(FORMATS[client], FORMATS[upstream], MODELS[upstream], body, STATES, options)


@pytest.mark.parametrize(("client", "name"), {**TOOLS, **BLOCKS})
def test_a_refusal_names_the_tool_or_block(client, name):
    with pytest.raises(Refusal) as refused:
        translated(client, {**TOOLS, **BLOCKS}[client, name])
    assert name in refused.value.message


@pytest.mark.parametrize(("client", "name"), TOOLS)
def test_an_operator_lets_a_tool_go_by_its_name_and_that_is_all_that_is_lost(client, name):
    path = f"{'toolConfig.tools' if client == 'converse' else 'tools'}.{name}"
    found = translated(client, TOOLS[client, name], path)
    assert found.context.losses.headers()["x-wirekey-dropped"] == path


def test_an_operator_may_name_the_whole_type():
    found = translated("anthropic", TOOLS["anthropic", "bash"], "tools.bash_20250124")
    assert found.context.losses.dropped == {"tools.bash_20250124"}


@pytest.mark.parametrize("kind", ["secret_word", "web_search_secret", "mcp_secret"])
@pytest.mark.parametrize("client", ["openai.responses", "openai.chat", "anthropic"])
def test_a_type_that_no_table_knows_is_not_said(client, kind):
    with pytest.raises(Refusal) as refused:
        translated(client, {"tools": [{"type": kind, "name": "x"}]})
    assert "secret" not in refused.value.message
    assert refused.value.param == "tools[0].type"
