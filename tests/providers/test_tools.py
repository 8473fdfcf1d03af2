"""Every tool in a request is named and counted, including tools in groups."""

import json

import pytest

from wirekey.core.errors import Refusal
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.tools import NAMES_LIMIT


def facts(provider, path, body):
    found = PROVIDERS[provider].operations.match_operation("POST", path, {})
    return PROVIDERS[provider].operations.read_request(found, {}, "application/json", json.dumps(body).encode())


RESPONSES, CHAT, MESSAGES = "/v1/responses", "/v1/chat/completions", "/v1/messages"
GENERATE = "/v1beta/models/gemini-2.5-flash:generateContent"
INVOKE = "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/invoke"
F, G = {"type": "function", "name": "f"}, {"type": "custom", "name": "g"}
PINNED = {"type": "mcp_toolset", "mcp_server_name": "s", "tools": [{"name": "f"}, {"name": "g"}]}


def block(*content):
    return {"messages": [{"role": "user", "content": list(content)}]}


def addition(definition):
    return {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": definition}}


@pytest.mark.parametrize(
    ("provider", "path", "body", "names", "count"),
    [
        ("openai", RESPONSES, {"tools": [F, G]}, ("f", "g"), 2),
        ("openai", RESPONSES, {"tools": [{"type": "namespace", "name": "n", "tools": [F, G]}]}, ("n", "f", "g"), 2),
        ("openai", RESPONSES, {"tools": [{"type": "namespace", "name": "n", "tools": []}]}, ("n",), 0),
        ("openai", RESPONSES, {"input": [{"type": "additional_tools", "tools": [F, G]}]}, ("f", "g"), 2),
        ("openai", RESPONSES, {"tools": [{"type": "mcp", "server_label": "s"}]}, ("mcp", "s"), 1),
        (
            "openai",
            RESPONSES,
            {"tools": [{"type": "mcp", "server_label": "s", "allowed_tools": ["f", "g"]}]},
            ("mcp", "s", "f", "g"),
            2,
        ),
        (
            "openai",
            RESPONSES,
            {"tools": [{"type": "mcp", "server_label": "s", "allowed_tools": {"tool_names": ["f"]}}]},
            ("mcp", "s", "f"),
            1,
        ),
        ("openai", CHAT, {"tools": [{"type": "custom", "custom": {"name": "f"}}]}, ("f",), 1),
        ("openai", CHAT, {"tools": [{"function": {"name": "f"}, "name": "g"}]}, ("f", "g"), 1),
        ("openai", CHAT, {"functions": [{"name": "f"}], "web_search_options": {"x": 1}}, ("f", "web_search"), 2),
        ("anthropic", MESSAGES, {"mcp_servers": [{"name": "s"}, {"name": "t"}]}, ("s", "t"), 2),
        (
            "anthropic",
            MESSAGES,
            {"mcp_servers": [{"name": "s", "tool_configuration": {"allowed_tools": ["f"]}}]},
            ("s", "f"),
            1,
        ),
        ("anthropic", MESSAGES, {"tools": [PINNED]}, ("mcp_toolset", "s", "f", "g"), 2),
        (
            "anthropic",
            MESSAGES,
            {
                "mcp_servers": [{"name": "s"}],
                "tools": [
                    {
                        "type": "mcp_toolset",
                        "mcp_server_name": "s",
                        "configs": {"f": {}, "g": {"enabled": False}, "h": {"enabled": True}},
                    }
                ],
            },
            ("mcp_toolset", "s", "f", "h"),
            2,
        ),
        ("anthropic", MESSAGES, block(addition(PINNED)), ("mcp_toolset", "s", "f", "g"), 2),
        (
            "anthropic",
            MESSAGES,
            block({"type": "compaction", "content": "x", "tool_changes": [addition({"name": "f"})]}),
            ("f",),
            1,
        ),
        (
            "anthropic",
            MESSAGES,
            block({"type": "tool_addition", "tool": {"type": "mcp_tool_reference", "name": "f", "server_name": "s"}}),
            ("f",),
            1,
        ),
        (
            "anthropic",
            MESSAGES,
            block({"type": "mcp_tool_listing", "mcp_server_name": "s", "tools": [{"name": "f"}]}),
            ("f",),
            1,
        ),
        (
            "anthropic",
            "/v1/messages/batches",
            {
                "requests": [
                    {"params": {"model": "m", "tools": [PINNED]}},
                    {"params": {"model": "m", "tools": [PINNED]}},
                ]
            },
            ("mcp_toolset", "s", "f", "g"),
            2,
        ),
        (
            "gemini",
            GENERATE,
            {"tools": [{"functionDeclarations": [{"name": "f"}], "codeExecution": {}}]},
            ("f", "codeExecution"),
            2,
        ),
        ("gemini", GENERATE, {"tools": [{"mcp_servers": [{"name": "s"}]}]}, ("mcpServers", "s"), 1),
        ("bedrock", INVOKE, {"mcp_servers": [{"name": "s"}], "tools": [{"name": "f"}]}, ("f", "s"), 2),
        (
            "bedrock",
            INVOKE.replace("invoke", "converse"),
            {
                "toolConfig": {"tools": [{"toolSpec": {"name": "f"}}, {"systemTool": {"name": "g"}}]},
                "additionalModelRequestFields": {"mcp_servers": [{"name": "s"}]},
            },
            ("f", "g", "s"),
            3,
        ),
    ],
)
def test_tools_are_named_and_counted(provider, path, body, names, count):
    found = facts(provider, path, body)
    assert (found.tools, found.tool_count, found.has_tools) == (names, count, True)


def deep(levels):
    tool = F
    for _ in range(levels):
        tool = {"type": "namespace", "name": "n", "tools": [tool]}
    return tool


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"tools": [F] * (NAMES_LIMIT + 1)}, "more than"),
        ({"tools": [deep(6)]}, "nested"),
        ({"tools": [{"type": "function", "name": "f", "Name": "g"}]}, "spelled"),
        ({"tools": [{"type": "mcp", "server_label": "s", "allowed_tools": [1]}]}, "array of strings"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": {"name": "f"}}]}, "must be an array"),
    ],
)
def test_tools_that_cannot_be_named_are_refused(body, word):
    with pytest.raises(Refusal, match=word):
        facts("openai", RESPONSES, body)
