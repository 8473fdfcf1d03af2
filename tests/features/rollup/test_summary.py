"""The request for a summary, and the text that is stored of a long conversation."""

from __future__ import annotations

import json

import pytest

from wirekey.core.body import Body
from wirekey.core.operation import Kind
from wirekey.features.rollup.history import FORMATS
from wirekey.features.rollup.summary import summarised, summary_request
from wirekey.providers.registry import PROVIDERS


@pytest.mark.parametrize(
    ("model", "provider", "form"),
    [
        ("gemini-2.5-flash", "gemini", "gemini"),
        ("gemini:gemini-2.5-flash?temperature=0.2", "gemini", "gemini"),
        ("gpt-4o-mini", "openai", "openai.chat"),
        ("anthropic:claude-sonnet-4-5", "anthropic", "anthropic"),
        ("bedrock:amazon.nova-lite-v1:0", "bedrock", "converse"),
    ],
)
def test_a_summary_is_requested_in_the_own_format_of_the_provider(model, provider, form):
    request = summary_request(model, "Summarise.", "[the conversation]")
    assert (request.provider, request.form) == (provider, form)
    assert form in FORMATS
    operation = PROVIDERS[provider].operations.match_operation("POST", request.path, request.headers)
    assert (operation.body, operation.kind) == (Body.JSON, Kind.INFERENCE)
    facts = PROVIDERS[provider].operations.read_request(operation, {}, "application/json", request.body)
    assert facts.model == model
    assert facts.has_system
    assert "[the conversation]" in request.body.decode()
    assert "the conversation" not in repr(request)


ROLES = ["user", "assistant"] * 3
MESSAGES = [json.dumps({"role": role, "content": str(number)}).encode() for number, role in enumerate(ROLES)]


@pytest.mark.parametrize(
    ("room", "first"), [(10_000, 0), (160, 2), (80, 4), (10, None)], ids=["all", "four", "two", "none"]
)
def test_the_latest_messages_that_fit_follow_the_context(room, first):
    text = summarised(" The context. ", MESSAGES, [0, 2, 4], room, verbatim=True)
    context, _, latest = text.partition("\n\nIts latest messages, word for word:\n")
    assert context == "Context of the conversation so far:\nThe context."
    found = [message["content"] for message in json.loads(latest)] if latest else None
    assert found == (None if first is None else [str(number) for number in range(first, 6)])


def test_without_verbatim_there_is_only_the_context():
    assert summarised("It.", MESSAGES, [0], 10_000, verbatim=False) == "Context of the conversation so far:\nIt."
