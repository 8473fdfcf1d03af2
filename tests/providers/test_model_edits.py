"""Model replacement in each provider's shape. No other byte changes."""

import hashlib

import pytest
from tests.providers.shapes import (
    AUDIO,
    FIELD,
    FORM,
    JSON,
    NEW,
    OLD,
    OUT_OF_REACH,
    SHAPES,
    WITHOUT,
    asked,
    filled,
    form,
    overridden,
)

from wirekey.core.errors import Fault, Refusal
from wirekey.core.operation import Kind
from wirekey.providers.anthropic import requests as anthropic
from wirekey.providers.bedrock import services as bedrock
from wirekey.providers.gemini import requests as gemini
from wirekey.providers.openai import requests as openai
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits
from wirekey.providers.request_json import ITEMS_LIMIT

TABLES = {
    "openai": openai.ROUTES,
    "anthropic": anthropic.ROUTES,
    "gemini": gemini.ROUTES,
    "bedrock": bedrock.ROUTES,
}


def outside(data, *names):
    """Return a hash of everything except these names."""
    for name in names:
        data = data.replace(name.encode(), b"\xff")
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("provider", "line", "body", "content_type", "new"), SHAPES)
def test_a_request_gets_the_other_model_and_nothing_else_changes(provider, line, body, content_type, new):
    given_line, given_body = filled(line, OLD), filled(body, OLD)
    target, data = overridden(provider, given_line, given_body, new, content_type)

    assert target.decode() == filled(line, new).partition(" ")[2]
    assert data.decode() == filled(body, new)
    assert outside(data, new) == outside(given_body.encode(), OLD)
    name, _ = asked(provider, given_line, given_body.encode(), content_type)
    assert asked(provider, f"{line.partition(' ')[0]} {target.decode()}", data, content_type) == (name, new)


@pytest.mark.parametrize(("provider", "line", "body", "content_type", "new"), SHAPES)
def test_a_request_that_already_has_the_model_is_unchanged(provider, line, body, content_type, new):
    given_line, given_body = filled(line, new), filled(body, new)
    assert overridden(provider, given_line, given_body, new, content_type) == (
        given_line.partition(" ")[2].encode(),
        given_body.encode(),
    )


@pytest.mark.parametrize(
    ("provider", "line", "body"),
    [
        ("openai", "POST /v1/chat/completions", '{"model":"\\u006eew-model.2"}'),
        ("gemini", "POST /v1beta/openai/chat/completions", '{"model":"models\\/new-model.2"}'),
        ("bedrock", "POST /model/amazon.nova-lite-v1:0/converse", "{}"),
    ],
)
def test_another_spelling_of_the_model_is_unchanged(provider, line, body):
    model = "amazon.nova-lite-v1:0" if provider == "bedrock" else NEW
    assert overridden(provider, line, body, model) == (line.partition(" ")[2].encode(), body.encode())


@pytest.mark.parametrize(
    ("provider", "line", "body", "expected"),
    [
        ("openai", "POST /v1/chat/completions", '{"messages":[]}', '{"model":"new-model.2","messages":[]}'),
        ("openai", "POST /v1/moderations", " { } ", ' {"model":"new-model.2" } '),
        ("openai", "POST /v1/images/generations", '{"model":null}', '{"model":"new-model.2"}'),
        ("anthropic", "POST /v1/messages", '{"messages":[]}', '{"model":"new-model.2","messages":[]}'),
        (
            "anthropic",
            "POST /v1/messages/batches",
            '{"requests":[{"params":{}},{"params":{"model":null}}]}',
            '{"requests":[{"params":{"model":"new-model.2"}},{"params":{"model":"new-model.2"}}]}',
        ),
        ("gemini", "POST /v1beta/openai/embeddings", '{"input":"x"}', '{"model":"new-model.2","input":"x"}'),
        ("gemini", "POST /v1beta/cachedContents", '{"ttl":"1s"}', '{"model":"models/new-model.2","ttl":"1s"}'),
        (
            "bedrock",
            "POST /retrieveAndGenerate",
            '{"retrieveAndGenerateConfiguration":{"externalSourcesConfiguration":{"sources":0}}}',
            '{"retrieveAndGenerateConfiguration":{"externalSourcesConfiguration":{"modelArn":"new-model.2","sources":0}}}',
        ),
    ],
)
def test_the_model_is_added_to_a_body_without_one(provider, line, body, expected):
    _, data = overridden(provider, line, body, NEW)
    assert data.decode() == expected
    assert asked(provider, line, data)[1] == NEW


@pytest.mark.parametrize("body", [form(AUDIO), form(AUDIO, AUDIO), form()])
def test_the_model_is_added_at_the_front_of_a_form_without_one(body):
    line = "POST /v1/images/variations"
    _, data = overridden("openai", line, body, NEW, FORM)
    assert data.decode() == f"--b\r\n{FIELD}\r\n\r\n{NEW}\r\n{body}"
    assert asked("openai", line, data, FORM)[1] == NEW


@pytest.mark.parametrize(
    ("line", "body", "new", "expected_target", "expected_body"),
    [
        (
            "POST /v1beta/models/m:generateContent?alt=sse",
            '{"model":"models/m"}',
            "tunedModels/t",
            "/v1beta/tunedModels/t:generateContent?alt=sse",
            '{"model":"tunedModels/t"}',
        ),
        (
            "POST /v1/tunedModels/t:generateContent",
            '{"model":"tunedModels/t"}',
            "m",
            "/v1/models/m:generateContent",
            '{"model":"models/m"}',
        ),
        (
            "POST /v1beta/tunedModels/t:countTokens",
            '{"generateContentRequest":{"model":"tunedModels/t"}}',
            "tunedModels/u",
            "/v1beta/tunedModels/u:countTokens",
            '{"generateContentRequest":{"model":"tunedModels/u"}}',
        ),
        (
            "POST /v1beta/models/models:predict",
            "{}",
            "tunedModels/models",
            "/v1beta/tunedModels/models:predict",
            "{}",
        ),
        (
            "POST /v1beta/cachedContents",
            '{"model":"models/m"}',
            "tunedModels/t",
            "/v1beta/cachedContents",
            '{"model":"tunedModels/t"}',
        ),
    ],
)
def test_a_tuned_model_of_gemini_is_in_its_own_collection(line, body, new, expected_target, expected_body):
    target, data = overridden("gemini", line, body, new)
    assert (target.decode(), data.decode()) == (expected_target, expected_body)
    assert asked("gemini", f"POST {expected_target}", data)[1] == new


def test_a_bedrock_body_that_contradicts_its_path_is_unchanged():
    target, data = overridden("bedrock", "POST /model/openai.gpt-oss-20b-1:0/invoke", '{"model":"x"}', "y")
    assert (target, data) == (b"/model/y/invoke", b'{"model":"x"}')


@pytest.mark.parametrize(("provider", "line", "body"), WITHOUT)
@pytest.mark.parametrize("model", [NEW, "no\nname"])
def test_an_operation_without_a_model_is_unchanged(provider, line, body, model):
    assert overridden(provider, line, body, model) == (line.partition(" ")[2].encode(), body.encode())


@pytest.mark.parametrize(("provider", "line", "body", "what"), OUT_OF_REACH)
def test_a_request_whose_model_cannot_be_edited_is_refused(provider, line, body, what):
    with pytest.raises(Refusal, match=what) as refused:
        overridden(provider, line, body, NEW)
    assert (refused.value.status, refused.value.code) == (403, "cannot_override")


def in_tables():
    """Return (provider, operation) of all requests in the tables of this module."""
    for provider, line, *_ in (*SHAPES, *WITHOUT, *OUT_OF_REACH):
        method, _, target = filled(line, NEW).partition(" ")
        found = PROVIDERS[provider].operations.match_operation(method, target.partition("?")[0], {})
        yield provider, found.name


SHOWN = set(in_tables())
OTHERS = [
    (provider, operation)
    for provider, table in TABLES.items()
    for operation in sorted(table, key=lambda operation: operation.name)
    if (provider, operation.name) not in SHOWN
]
MODELLESS_INFERENCE = {
    ("openai", "content_provenance_checks"),
    ("openai", "videos.edits"),
    ("openai", "videos.extensions"),
    ("openai", "videos.remix"),
    ("bedrock", "apply-guardrail"),
    ("bedrock", "invoke-guardrail-checks"),
}
OPENED_WITH_MODEL = {("openai", "realtime")}
"""A connection. Its model is in the query, and `tests/end_to_end/test_realtime.py` replaces it."""
OPENED_WITHOUT_MODEL = {("openai", "responses.connect")}
"""A connection whose messages name their models. `tests/end_to_end/test_responses_websocket.py` replaces them."""


def test_every_operation_that_calls_a_model_is_in_a_table_of_this_module():
    assert len(OTHERS) > 500
    missing = {(provider, found.name) for provider, found in OTHERS if found.kind in (Kind.INFERENCE, Kind.LISTING)}
    assert missing == MODELLESS_INFERENCE | OPENED_WITH_MODEL | OPENED_WITHOUT_MODEL
    assert {("gemini", action) for action in gemini.ACTIONS} <= SHOWN
    assert {("bedrock", action) for action in bedrock.ACTIONS} <= SHOWN


def test_every_operation_in_no_table_of_this_module_is_unchanged():
    body = b'{"name":"x","metadata":{"model":"x"}}'
    for provider, operation in OTHERS:
        edited = PROVIDERS[provider].operations.edit_request(operation, b"/x", JSON, body, RequestEdits(NEW))
        assert (edited.target, edited.body, edited.model_changed) == (b"/x", body, False), operation


CHAT = ("POST /v1/chat/completions", '{"model":"m"}')
GENERATE = ("POST /v1beta/models/m:generateContent", "{}")
CONVERSE = ("POST /model/m/converse", "{}")


@pytest.mark.parametrize(
    ("provider", "request_", "model"),
    [
        *(("openai", CHAT, model) for model in ("", " m", "m\n", "m\0", "\ud800", "x" * 257, "a\u2028b")),
        ("openai", ("POST /v1/moderations", "{}"), ""),
        *(("openai", ("GET /v1/models/m", ""), model) for model in ("a/b", "..", ".a", "ü", "a%2Fb", "a?b", "a b")),
        *(("anthropic", ("GET /v1/models/m", ""), model) for model in ("a/b", "a#b")),
        *(
            ("gemini", GENERATE, model)
            for model in ("models/m", "a:predict", "../m", "a/b", "tunedModels/", "tunedModels/a/b", "x" * 129, "m\n")
        ),
        ("gemini", ("POST /v1beta/openai/chat/completions", '{"model":"m"}'), "models/m2"),
        ("gemini", ("POST /v1beta/cachedContents", "{}"), "models/m2"),
        ("gemini", ("GET /v1beta/models/m", ""), "tunedModels/t"),
        ("gemini", ("GET /v1beta/openai/models/m", ""), "tunedModels/t"),
        *(
            ("bedrock", CONVERSE, model)
            for model in (
                "a/b",
                "a%3Ab",
                "..",
                ".a",
                "a b",
                "ü",
                "arn:aws:s3:::b/m",
                "a\n",
                "arn:aws:bedrock:r:1:m/../x",
            )
        ),
        (
            "bedrock",
            (
                "POST /retrieveAndGenerate",
                '{"retrieveAndGenerateConfiguration":{"knowledgeBaseConfiguration":{"modelArn":"m"}}}',
            ),
            "a b",
        ),
    ],
)
def test_an_invalid_model_name_is_refused_as_an_operator_error(provider, request_, model):
    with pytest.raises(Refusal, match="a name that cannot stand") as refused:
        overridden(provider, *request_, model)
    assert (refused.value.status, refused.value.code, refused.value.fault) == (403, "cannot_override", Fault.OPERATOR)
    assert refused.value.message.isprintable()


@pytest.mark.parametrize("body", [form((FIELD, "m")), form(AUDIO)])
@pytest.mark.parametrize("model", ["--b", "--b--", "--b/x"])
def test_a_model_name_that_would_end_its_form_field_is_refused(body, model):
    with pytest.raises(Refusal, match="the boundary of the form") as refused:
        overridden("openai", "POST /v1/audio/transcriptions", body, model, FORM)
    assert refused.value.code == "cannot_override"


def test_the_largest_batch_is_edited_in_one_pass():
    request = '{"params":{"model":"«»","messages":[{"role":"user","content":"' + "x" * 40 + '"}]}}'
    body = '{"requests":[' + ",\n".join([request] * ITEMS_LIMIT) + "]}"
    _, data = overridden("anthropic", "POST /v1/messages/batches", body.replace("«»", OLD), NEW)
    assert data.decode() == body.replace("«»", NEW)
