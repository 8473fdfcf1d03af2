"""Absurd counts of tokens in a response are unknown counts: the client gets the response, and no absurd number."""

import json
import re

import pytest

from tests.features.translation import test_embeddings, test_token_counts
from tests.features.translation.cases import dumped
from tests.features.translation.streams import fold, upstream_bytes
from tests.features.translation.test_responses import ANSWERS, STREAMS, reply_of
from wirekey.core.operation import MOST_TOKENS
from wirekey.features.translation.embeddings import VECTORS
from wirekey.features.translation.neutral import TokenUsage
from wirekey.features.translation.openai_responses.read_response import read_usage
from wirekey.features.translation.responses import StreamTranslator, translate_response

ABSURD = {
    "negative": -5,
    "a fraction": 1.5,
    "a huge fraction": 1e300,
    "a huge integer": 10**30,
    "the largest of 64 bits": 2**64 - 1,
    "a boolean": True,
    "text": "12",
    "a list": [12],
    "an object": {"count": 12},
}
MOST = 3 * MOST_TOKENS
"""Input, read from a cache and written to it."""
READ = {"openai.chat", "gemini", "anthropic", "converse"}
"""The formats of which there are cases."""
COUNT = re.compile("token(s|count)$", re.IGNORECASE)


def with_counts(value, absurd):
    """Return a response in which every count of tokens has this value, and how many it has."""
    if isinstance(value, list):
        pairs = [with_counts(one, absurd) for one in value]
        return [one for one, _ in pairs], sum(number for _, number in pairs)
    if not isinstance(value, dict):
        return value, 0
    found, total = {}, 0
    for name, one in value.items():
        is_count = COUNT.search(name) is not None and isinstance(one, int)
        found[name], number = (absurd, 1) if is_count else with_counts(one, absurd)
        total += number
    return found, total


def counts_of(value):
    """Yield every count of tokens in a client's response."""
    for name, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(name, str) and COUNT.search(name) and not isinstance(one, dict | list):
            yield name, one
        yield from counts_of(one)


def check(written):
    wrong = [
        (name, one)
        for name, one in counts_of(written)
        if one is not None and not (type(one) is int and 0 <= one <= MOST)
    ]
    assert wrong == []


@pytest.mark.parametrize("absurd", ABSURD)
def test_the_counts_of_a_response(absurd):
    checked = set()
    for name, case in ANSWERS.items():
        if case["expect"]["client"].get("status", 200) != 200:
            continue
        changed, number = with_counts(case["in"], ABSURD[absurd])
        found = translate_response(200, dumped(changed).encode(), reply_of(case))
        assert found.status == 200, name
        check(json.loads(found.body))
        if number:
            checked.add(case["to"])
    assert checked >= READ, checked


@pytest.mark.parametrize("absurd", ABSURD)
def test_the_counts_of_a_stream(absurd):
    checked = set()
    for name, case in STREAMS.items():
        changed, number = with_counts(case["in"], ABSURD[absurd])
        failures = []
        for events in (case["in"], changed):
            translator = StreamTranslator(reply_of(case, stream=True))
            data = translator.feed(upstream_bytes(case["to"], events, case.get("options"))) + translator.end()
            failures.append(translator.failure)
        assert failures[0] == failures[1], name
        if number and failures[0] is None:
            check(fold(case["from"], data)[0])
            checked.add(case["to"])
    assert checked >= READ, checked


@pytest.mark.parametrize("absurd", ABSURD)
def test_the_counts_of_the_responses_api(absurd):
    usage = {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": 1}
    response = {"id": "resp_1", "model": "m", "status": "completed", "output": [], "usage": usage}
    for client in READ:
        found = translate_response(
            200,
            dumped(with_counts(response, ABSURD[absurd])[0]).encode(),
            reply_of({"from": client, "to": "openai.responses"}),
        )
        assert found.status == 200, client
        check(json.loads(found.body))
    for details in (ABSURD[absurd], {"cached_tokens": ABSURD[absurd]}):
        assert read_usage({"input_tokens": 1, "input_tokens_details": details}) == TokenUsage(input=1)


@pytest.mark.parametrize("absurd", ABSURD)
def test_the_counts_of_embeddings(absurd):
    for upstream in VECTORS:
        request = test_embeddings.translated(
            test_embeddings.OPENAI, upstream, {"model": "m", "input": "hello"}, model=test_embeddings.MODELS[upstream]
        )
        answer, _ = with_counts(test_embeddings.ANSWERS[upstream], ABSURD[absurd])
        headers = {"x-amzn-bedrock-input-token-count": str(ABSURD[absurd])}
        found = test_embeddings.answered(request, answer, headers=headers)
        assert found.status == 200, upstream
        check(json.loads(found.body))


def test_a_count_of_many_digits_in_a_header():
    request = test_embeddings.translated(
        test_embeddings.OPENAI,
        test_embeddings.COHERE,
        {"model": "m", "input": "hello"},
        model=test_embeddings.MODELS[test_embeddings.COHERE],
    )
    headers = {"x-amzn-bedrock-input-token-count": "9" * 5000}
    found = test_embeddings.answered(request, test_embeddings.ANSWERS[test_embeddings.COHERE], headers=headers)
    assert json.loads(found.body)["usage"]["prompt_tokens"] == 0


@pytest.mark.parametrize("absurd", ABSURD)
def test_an_absurd_count_is_no_response_to_a_request_that_counts(absurd):
    for client in test_token_counts.ANSWERS:
        for upstream, answer in test_token_counts.ANSWERS.items():
            request = test_token_counts.counted(client, upstream, test_token_counts.asked(client))
            reply = test_token_counts.Reply(
                request.context, request.conversation, test_token_counts.STATES, 0, lambda: ""
            )
            changed, number = with_counts(answer, ABSURD[absurd])
            assert number
            found = request.respond(200, json.dumps(changed).encode(), reply, None)
            assert found.status == 502, (client, upstream)
