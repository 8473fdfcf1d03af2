"""Labels in headers: those of known programs, and those that the operator names."""

import pytest

from wirekey.config.loading import ConfigError, load
from wirekey.core.labels import NOTHING
from wirekey.features.label_headers.config import label_headers
from wirekey.features.label_headers.reading import KNOWN, LabelHeaders

SESSION = "3f0c9a52-6a5e-4a8e-9a53-0d8f0d3f7a11"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def read(fields, headers=KNOWN):
    sent = tuple((name.encode(), value.encode()) for name, value in fields)
    kept = tuple(field for field in sent if field[0].lower() not in (b"traceparent", b"authorization"))
    found = LabelHeaders.of(headers).read(kept, sent)
    return dict(found.accepted), found.invalid


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        (
            [
                ("X-Claude-Code-Session-Id", SESSION),
                ("X-Claude-Code-Agent-Id", "a1"),
                ("X-Claude-Code-Parent-Agent-Id", "a0"),
            ],
            {"session": SESSION, "sub_agent": "a1", "parent_agent": "a0"},
        ),
        ([("session_id", SESSION), ("originator", "codex_cli_rs")], {"session": SESSION, "originator": "codex_cli_rs"}),
        ([("session_id", SESSION), ("session-id", SESSION)], {"session": SESSION}),
        ([("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"), ("authorization", "x")], {"trace": TRACE}),
    ],
)
def test_headers_of_known_programs(fields, labels):
    assert read([("accept", "*/*"), *fields]) == (labels, ())


@pytest.mark.parametrize(
    ("fields", "invalid"),
    [
        ([("session_id", "a"), ("session-id", "b")], ("session",)),
        ([("session_id", "a"), ("session_id", "b")], ("session",)),
        ([("session_id", "x" * 65)], ("session",)),
        ([("originator", "two words")], ("originator",)),
        ([("originator", "caf\u00e9")], ("originator",)),
        ([("traceparent", "00-xyz")], ("trace",)),
        ([("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01")] * 2 + [("originator", "")], ("originator",)),
    ],
)
def test_other_values_are_invalid(fields, invalid):
    assert read(fields)[1] == invalid


def test_a_request_without_such_headers_has_no_labels():
    headers = LabelHeaders.of(KNOWN)
    assert headers.read(((b"accept", b"*/*"),), ((b"accept", b"*/*"),)) is NOTHING


def loaded(tmp_path, text):
    file = tmp_path / "wirekey.yaml"
    file.write_text(text)
    return load(file, {})


def test_own_headers_take_the_place_of_known_ones_of_the_same_label(tmp_path):
    config = loaded(tmp_path, "identity: {labels: {headers: {team: X-Team, session: [x-s1, x-s2]}}}")
    found = label_headers(config)
    assert found.labels[b"x-team"] == "team"
    assert [name for name, label in found.labels.items() if label == "session"] == [b"x-s1", b"x-s2"]
    assert found.labels[b"originator"] == "originator"


def test_known_headers_can_be_turned_off(tmp_path):
    assert label_headers(loaded(tmp_path, "identity: {labels: {known_headers: false}}")) is None
    config = loaded(tmp_path, "identity: {labels: {known_headers: false, headers: {trace_id: traceparent}}}")
    assert label_headers(config) == LabelHeaders({}, "trace_id")


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ("{Team: x-team}", "lower-case"),
        ("{team: authorization}", "credentials"),
        ("{team: x-agent-id}", "credentials"),
        ("{team: 'x team'}", "name of a header"),
        ("{team: x-a, run: x-a}", "named twice"),
        ("{team: []}", "is empty"),
    ],
)
def test_a_header_that_cannot_have_a_label_is_refused(tmp_path, headers, problem):
    with pytest.raises(ConfigError, match=problem):
        loaded(tmp_path, f"identity: {{labels: {{headers: {headers}}}}}")
