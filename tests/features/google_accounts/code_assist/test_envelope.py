"""The envelope around requests: the client's bytes are in it as they were."""

from __future__ import annotations

import json

import pytest

from wirekey.core.body import Spool
from wirekey.core.errors import Refusal
from wirekey.features.google_accounts.code_assist.envelope import check_body, target_of, wrapped

BODY = (
    b'{ "contents":[{"role":"user","parts":[{"text":"caf\\u00e9 \xe2\x82\xac"}]}],\n "generationConfig": {"topP":1.0}}'
)
PROMPT_ID = "0197c2b0-0000-7000-8000-000000000001"


def test_the_clients_bytes_are_in_the_envelope_unchanged():
    found = wrapped("generateContent", "gemini-2.5-pro", "my-project", PROMPT_ID, BODY)
    assert BODY in found
    assert json.loads(found) == {
        "model": "gemini-2.5-pro",
        "project": "my-project",
        "user_prompt_id": PROMPT_ID,
        "request": json.loads(BODY),
    }


def test_an_account_without_a_project_names_none():
    assert "project" not in json.loads(wrapped("streamGenerateContent", "m", None, PROMPT_ID, BODY))


def test_a_count_has_the_model_beside_the_clients_contents():
    body = b' {"contents": [{"parts":[{"text":"{"}]}]} '
    found = wrapped("countTokens", "gemini-2.5-pro", "my-project", PROMPT_ID, body)
    assert b'"contents": [{"parts":[{"text":"{"}]}]' in found
    assert json.loads(found) == {"request": {"model": "models/gemini-2.5-pro"} | json.loads(body)}


@pytest.mark.parametrize("operation", ["generateContent", "countTokens"])
def test_a_large_body_stays_in_a_file(tmp_path, operation):
    spool = Spool(tmp_path)
    spool.write(b'{"contents":[]}')
    found = wrapped(operation, "m", "p", PROMPT_ID, spool.finish())
    assert not isinstance(found, bytes)
    assert json.loads(found[:]) == json.loads(wrapped(operation, "m", "p", PROMPT_ID, b'{"contents":[]}'))


def test_each_operation_has_its_path():
    assert target_of("generateContent") == "/v1internal:generateContent"
    assert target_of("streamGenerateContent") == "/v1internal:streamGenerateContent?alt=sse"
    assert target_of("countTokens") == "/v1internal:countTokens"


ALLOWED = [
    ("generateContent", '{"contents":[],"systemInstruction":{},"cachedContent":"c","tools":[],"toolConfig":{}}'),
    ("generateContent", '{"contents":[],"labels":{},"safetySettings":[],"generationConfig":{},"session_id":"s"}'),
    ("generateContent", '{"contents":[],"system_instruction":{},"generation_config":{}}'),
    ("countTokens", '{"contents":[]}'),
]
REFUSED = [
    ("generateContent", '{"contents":[],"model":"models/m"}', "model"),
    ("generateContent", '{"contents":[],"serviceTier":"flex"}', "serviceTier"),
    ("generateContent", "{}", "contents"),
    ("countTokens", '{"generateContentRequest":{"contents":[]}}', "generateContentRequest"),
    ("countTokens", '{"contents":[],"systemInstruction":{}}', "systemInstruction"),
]


@pytest.mark.parametrize(("operation", "body"), ALLOWED)
def test_members_that_code_assist_knows_pass(operation, body):
    check_body(operation, body.encode())


@pytest.mark.parametrize(("operation", "body", "member"), REFUSED)
def test_members_that_code_assist_does_not_know_are_refused_not_dropped(operation, body, member):
    with pytest.raises(Refusal) as refused:
        check_body(operation, body.encode())
    assert refused.value.status == 400
    assert refused.value.param == member
    assert member in refused.value.message
