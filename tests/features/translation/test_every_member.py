"""No member of a request is lost without a word: each is carried, refused, or reported in `adjusted` and `dropped`.

The members are those that the types of the providers' SDKs have, and one that nobody knows, in every object of requests
of every format, for every format that they may be sent to.
"""

import copy
import json

import pytest

from tests.features.translation.cases import MODELS, STATES
from tests.features.translation.request_forms import FEATURES, asked
from tests.features.translation.request_members import at, missing_members, objects
from tests.features.translation.test_pairs import PAIRS
from wirekey.core.errors import Refusal
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.requests import translate_request

MORE = {
    "openai.chat": [
        {
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "Hi"},
                    {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
                ]},
                {"role": "assistant", "content": None, "function_call": {"name": "clock", "arguments": "{}"}},
                {"role": "function", "name": "clock", "content": "noon"},
            ],
            "functions": [{"name": "clock", "parameters": {"type": "object"}}],
        },
        {"messages": [{"role": "user", "content": "Hi"}], "extra_body": {"google": {"thinking_config": {}}}},
        {"messages": [{"role": "user", "content": "Hi"}], "thinking": {"type": "enabled", "budget_tokens": 2000}},
    ],
    "openai.responses": [
        {
            "input": [
                {"role": "user", "content": "Hi"},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"type": "custom_tool_call", "call_id": "call_1", "name": "note", "input": "x"},
                {"type": "custom_tool_call_output", "call_id": "call_1", "output": "ok"},
            ],
            "tools": [{"type": "custom", "name": "note", "format": {"type": "text"}}],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "note"}]},
        },
    ],
    "gemini": [
        {"contents": [{"role": "user", "parts": [
            {"fileData": {"fileUri": "https://example.com/a.png", "mimeType": "image/png"}},
        ]}]},
    ],
    "anthropic": [
        {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 2000}, "metadata": {"user_id": "x"},
         "output_config": {"effort": "low"}, "messages": [
            {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "c2ln"}, {"type": "text", "text": "Yes."},
            ]},
            {"role": "user", "content": "And?"},
        ]},
        {"max_tokens": 9000, "messages": [
            {"role": "user", "content": [
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
                {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            ]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "clock", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [
                {"type": "text", "text": "noon"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
            ]}]},
        ]},
    ],
    "converse": [
        {"messages": [
            {"role": "user", "content": [{"text": "Hi"}, {"cachePoint": {"type": "default"}}]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}, {"text": "Yes."},
                {"citationsContent": {"content": [{"text": "So."}], "citations": [{"title": "x"}]}},
            ]},
            {"role": "user", "content": [{"text": "And?"}]},
        ], "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
         "serviceTier": {"type": "flex"}, "outputConfig": {"effort": "low"}},
    ],
}  # fmt: skip
MORE["invoke"] = [{**body, "anthropic_version": "bedrock-2023-05-31"} for body in MORE["anthropic"]]
SILENT = {
    "openai.chat": {
        "model": "the route's",
        "stream": "false, as if it were absent", "stream_options": "without a member",
        "function_call": "a choice without tools", "tool_choice": "a choice without tools",
        "parallel_tool_calls": "without tools",
        "max_tokens": "max_completion_tokens comes first",
        "response_format": "text, as if it were absent",
        "response_format.json_schema.strict": "these upstreams always hold to a schema",
        "reasoning_effort": "beside `thinking`, whose budget comes first",
    },
    "openai.responses": {
        "model": "the route's",
        "stream": "false, as if it were absent", "stream_options": "about the padding of events",
        "tool_choice": "a choice without tools", "parallel_tool_calls": "without tools",
        "truncation": "disabled, as if it were absent",
        "reasoning": "without a member", "text": "without a member",
        "text.format.strict": "these upstreams always hold to a schema",
        "input.id": "an id of OpenAI", "input.status": "of an item that is done", "input.phase": "OpenAI's own word",
        "input.type": "message, as if it were absent",
        "input.encrypted_content": "the state of another model",
        "input.content": "the text of thoughts, which goes to no other model",
    },
    "gemini": {
        "contents.parts.thought": "a thought, which goes to no other model",
        "contents.parts.thoughtSignature": "the state of another model",
        "systemInstruction.role": "it has no meaning there",
    },
    "anthropic": {
        "model": "the route's", "stream": "false, as if it were absent",
        "metadata": "without a member", "output_config": "without a member",
        "tool_choice": "a choice without tools", "tools.type": "custom, as if it were absent",
        "messages.content.caller": "of a call that the model made itself",
        "messages.content.title": "the label of a text",
    },
    "converse": {"toolConfig.toolChoice.auto": "beside another choice"},
}  # fmt: skip
"""Members that change nothing and are not reported, and why that is no loss."""
SILENT["invoke"] = {**SILENT["anthropic"], "anthropic_version": "of the envelope", "anthropic_beta": "of the envelope"}
OPAQUE = {"openai.responses": ("input.content",), "converse": ("messages.content.citationsContent.citations",)}
"""Objects whose own members are the model's, not the program's: they are left out as a whole."""
UNKNOWN = "zz_unknown"


def outcome(client, upstream, body):
    """Return all that can be seen of a translation: the request that is sent, and what is reported."""
    sent = json.dumps(body).encode()
    try:
        found = translate_request(FORMATS[client], FORMATS[upstream], MODELS[upstream], sent, STATES)
    except Refusal as refusal:
        return "refused", refusal.param
    losses = found.context.losses
    return found.body, found.query, losses.headers(), found.conversation.stream, found.conversation.include_usage


def bases(client):
    """Return requests of a format that together have all kinds of objects."""
    return [body for feature in FEATURES if (body := asked(client, feature))] + MORE[client]


def is_reported_whole(place, seen):
    """Return whether a member, or an object around it, is reported already: cache marks have one name everywhere."""
    dropped = seen[2].get("x-wirekey-dropped", "").split(", ")
    return any(f".{place}.".find(f".{name}.") >= 0 for name in dropped if name)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_every_member_that_the_sdk_knows_is_carried_or_refused_or_reported(client, upstream):
    lost = set()
    for base in bases(client):
        plain = outcome(client, upstream, base)
        if plain[0] == "refused":
            continue
        for place, body in missing_members(client, base):
            if outcome(client, upstream, body) == plain and not is_reported_whole(place, plain):
                lost.add(place)
    assert lost <= SILENT[client].keys()


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_member_that_nobody_knows_is_carried_or_refused_or_reported(client, upstream):
    lost = set()
    for base in bases(client):
        plain = outcome(client, upstream, base)
        if plain[0] == "refused":
            continue
        for path in objects(base):
            place = ".".join(part for part in path if isinstance(part, str))
            body = copy.deepcopy(base)
            at(body, path)[UNKNOWN] = "canary"
            found = outcome(client, upstream, body)
            if found == plain and not place.startswith(OPAQUE.get(client, ("-",))):
                lost.add(place)
            assert UNKNOWN not in str(found[2:]), "a name that no table knows is content"
    assert not lost


@pytest.mark.parametrize("client", FORMATS)
def test_each_silent_member_is_one_that_the_sdk_or_the_envelope_has(client):
    known = {place for base in bases(client) for place, _ in missing_members(client, base)}
    envelope = {"anthropic_version", "anthropic_beta"}
    assert SILENT[client].keys() - envelope - known == set()
