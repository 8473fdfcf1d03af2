"""Formats agree with the operations of the providers that speak them."""

import pytest

from wirekey.providers.formats import EMBEDDINGS, FORMATS
from wirekey.providers.registry import CORE_PROVIDERS, PROVIDERS


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("stream", [False, True])
def test_the_path_of_a_call_is_that_of_a_conversation(form, stream):
    provider = PROVIDERS[form.called or "bedrock"]
    path, _ = form.paths.of("model-1", stream=stream)
    operation = provider.operations.match_operation("POST", path, form.headers)
    assert operation.name in form.conversations
    assert form.name in provider.formats.speaks
    assert operation.stream is (stream and form.paths.say_stream)


def test_no_operation_is_in_two_formats():
    named = [
        name
        for form in FORMATS.values()
        for name in (*form.conversations, *form.counts, *form.others, *form.connections)
    ]
    assert len({*named, *EMBEDDINGS}) == len([*named, *EMBEDDINGS])


def test_what_a_provider_speaks_is_a_format():
    assert {name for each in CORE_PROVIDERS for name in PROVIDERS[each].formats.speaks} == FORMATS.keys()
    assert {form.counted_in for form in FORMATS.values()} - {None} <= {
        form.name for form in FORMATS.values() if form.counts
    }
    assert {form.vectors for form in FORMATS.values()} - {None} <= {*EMBEDDINGS.values()}
