"""Gemini's settings in OpenAI's format: moved to where Google reads them, and no other byte changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.errors import Refusal
from wirekey.providers.json_edits import EditableBody
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits

CACHED = '"extra_body":{"google":{"cached_content":"c"}}'
MOVED = [
    ('{"model":"m","gemini_cached_content":"c"}', "{" + CACHED + ',"model":"m"}'),
    ('{"gemini_cached_content": "c" , "model":"m"}', "{" + CACHED + ', "model":"m"}'),
    ('{"gemini_cached_content":"c"}', "{" + CACHED + "}"),
    (
        '{"a":1,"gemini_cached_content":"c","gemini_safety_settings":[{"x":1}],"b":2}',
        '{"extra_body":{"google":{"cached_content":"c","safety_settings":[{"x":1}]}},"a":1,"b":2}',
    ),
    ('{"a":1,"extra_body":{"gemini_cached_content":"c"}}', '{"a":1,"extra_body":{"google":{"cached_content":"c"}}}'),
    (
        '{"extra_body":{"google":{"thinking_config":{}},"gemini_cached_content":"c"}}',
        '{"extra_body":{"google":{"cached_content":"c","thinking_config":{}}}}',
    ),
]


def moved(body, provider="gemini", path="/v1beta/openai/chat/completions", goes_to=None):
    operation = PROVIDERS[provider].operations.match_operation("POST", path, {})
    edits = RequestEdits(provider=goes_to)
    return (
        PROVIDERS[provider]
        .operations.edit_request(operation, path.encode(), "application/json", body.encode(), edits)
        .body
    )


@pytest.mark.parametrize(("body", "expected"), MOVED)
def test_the_settings_are_moved_to_where_google_reads_them(body, expected):
    assert json.loads(moved(body)) == json.loads(expected)
    assert json.loads(moved(body, "openai", "/v1/chat/completions", "gemini")) == json.loads(expected)


@pytest.mark.parametrize(
    "body",
    ['{"model":"gemini_x"}', '{"messages":[{"gemini_cached_content":"c"}]}', '{"extra_body":null,"x":"gemini_"}'],
)
def test_any_other_body_is_unchanged(body):
    assert moved(body) == body.encode()


def test_at_openai_itself_nothing_is_moved():
    body = '{"gemini_cached_content":"c"}'
    assert moved(body, "openai", "/v1/chat/completions") == body.encode()


def test_a_setting_in_two_places_is_refused():
    with pytest.raises(Refusal, match="appears twice"):
        moved('{"gemini_cached_content":"c","extra_body":{"gemini_cached_content":"d"}}')


@given(
    st.dictionaries(st.text(max_size=3), st.integers() | st.lists(st.integers()), min_size=1, max_size=6),
    st.data(),
    st.sampled_from([None, 0, 2]),
)
def test_removed_members_are_gone_and_the_others_stay(members, data, indent):
    body = json.dumps(members, indent=indent).encode()
    gone = data.draw(st.sets(st.sampled_from(sorted(members))))
    editable = EditableBody(body)
    for key in gone:
        editable.root.remove(key)
    if data.draw(st.booleans()):
        editable.root.set({"added": b"1"})
        members = {"added": 1, **{key: value for key, value in members.items() if key != "added"}}
    assert json.loads(editable.written()) == {key: value for key, value in members.items() if key not in gone}
