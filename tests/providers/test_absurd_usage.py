"""Absurd counts of a provider are unknown, in every format."""

import pytest

from wirekey.core.operation import MOST_TOKENS
from wirekey.providers.anthropic.responses import AnthropicJson
from wirekey.providers.bedrock.responses import BedrockJson
from wirekey.providers.gemini.responses import GeminiJsonReader
from wirekey.providers.openai.responses import OpenAiJson

ABSURD = ["-5", "1.5", "1e300", "NaN", "true", '"12"', "[12]", "{}", str(MOST_TOKENS + 1), str(2**53), str(10**30)]
READERS = {
    "openai chat": (OpenAiJson, '{"usage":{"prompt_tokens":%s,"completion_tokens":%s}}'),
    "openai responses": (OpenAiJson, '{"usage":{"input_tokens":%s,"output_tokens":%s}}'),
    "gemini": (GeminiJsonReader, '{"usageMetadata":{"promptTokenCount":%s,"candidatesTokenCount":%s}}'),
    "anthropic": (AnthropicJson, '{"type":"message","usage":{"input_tokens":%s,"output_tokens":%s}}'),
    "bedrock converse": (BedrockJson, '{"usage":{"inputTokens":%s,"outputTokens":%s}}'),
}


def usage_of(name, count):
    kind, body = READERS[name]
    reader = kind()
    reader.feed((body % (count, count)).encode())
    reader.end()
    return reader.usage


@pytest.mark.parametrize("name", READERS)
def test_an_absurd_count_is_unknown(name):
    found = {count: usage_of(name, count) for count in ABSURD}
    known = {
        count: usage for count, usage in found.items() if (usage.input_tokens, usage.output_tokens) != (None, None)
    }
    assert known == {}
    assert usage_of(name, MOST_TOKENS).output_tokens == MOST_TOKENS
