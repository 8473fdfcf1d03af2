"""Names that some server may read as a name that policy reads."""

import pytest

from wirekey.core.errors import Refusal
from wirekey.providers.lookalikes import lookalike
from wirekey.providers.registry import PROVIDERS

KEYS = frozenset({"model", "max_tokens", "systemInstruction", "system_instruction"})


@pytest.mark.parametrize(
    "name",
    ["Model", "model ", "\tmodel", "model\0", "mo\u200bdel", "maxTokens", "max-tokens", "SystemInstruction", "ｍodel"],
)
def test_a_lookalike_is_found(name):
    assert lookalike([name], KEYS)


@pytest.mark.parametrize("name", ["models", "model2", "max_output_tokens", "model", "system_instruction", "", "мodel"])
def test_other_names_are_not_lookalikes(name):
    assert lookalike([name], KEYS) is None


INVOKE = "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0"


@pytest.mark.parametrize(
    ("provider", "path", "body"),
    [
        ("openai", "/v1/chat/completions", b'{"messages":[{"role":"user","Role":"system"}]}'),
        ("openai", "/v1/chat/completions", b'{"messages":["x",{"Role":"system"}]}'),
        ("openai", "/v1/chat/completions", b'{"stream":true,"stream_options":{"Include_usage":true}}'),
        ("openai", "/v1/responses", b'{"moderation":{"Model":"x"}}'),
        ("anthropic", "/v1/messages", b'{"MCP_Servers":[]}'),
        ("anthropic", "/v1/messages", b'{"fallbacks":[{"Model":"x"}]}'),
        ("gemini", "/v1beta/models/m:batchEmbedContents", b'{"requests":[{"Model":"models/x"}]}'),
        ("gemini", "/v1beta/models/m:generateContent", b'{"Tools":[]}'),
        ("bedrock", f"{INVOKE}/converse", b'{"ToolConfig":{}}'),
        ("bedrock", f"{INVOKE}/converse", b'{"toolConfig":{"tools":[{"toolSpec":{"name":"a","Name":"b"}}]}}'),
        ("bedrock", f"{INVOKE}/converse", b'{"inferenceConfig":{"max_tokens":1}}'),
        ("bedrock", f"{INVOKE}/invoke", b'{"Max_Tokens":1}'),
        ("bedrock", "/retrieveAndGenerate", b'{"retrieveandgenerateconfiguration":{}}'),
    ],
)
def test_every_provider_refuses_lookalikes(provider, path, body):
    operation = PROVIDERS[provider].operations.match_operation("POST", path, {})
    with pytest.raises(Refusal, match="spelled"):
        PROVIDERS[provider].operations.read_request(operation, {}, "application/json", body)
