"""Heads of requests to Google's servers that would hide token counts, or name a second model."""

from __future__ import annotations

import pytest

from wirekey.core.errors import Refusal
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_head import read_query

CALLS = [
    ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent"),
    ("gemini", "/v1beta/models/gemini-2.5-flash:streamGenerateContent"),
    ("gemini", "/v1beta/dynamic/abc:generateContent"),
    ("gemini", "/v1beta/openai/chat/completions"),
]


@pytest.fixture(params=CALLS, ids=[path for _, path in CALLS])
def call(request):
    """A provider and the path of a call. Features run the tests of this file with calls of their own."""
    return request.param


def check(provider, path, query="", headers=None, method="POST"):
    operation = PROVIDERS[provider].operations.match_operation(method, path, {})
    PROVIDERS[provider].operations.check_head(operation, read_query(query), headers or {})


@pytest.mark.parametrize("name", ["fields", "$fields", "%24fields", "Fields", "FIELDS", "fields[]", "X-Goog-FieldMask"])
@pytest.mark.parametrize("mask", ["", "candidates", "usageMetadata/promptTokenCount", "a(b,usageMetadata)", "usage*"])
def test_a_mask_in_the_query_that_leaves_out_counts_is_refused(call, name, mask):
    with pytest.raises(Refusal, match="may leave the token counts out"):
        check(*call, f"alt=sse&{name}={mask}")


@pytest.mark.parametrize("name", ["x-goog-fieldmask", "X-Goog-FieldMask", "X-GOOG-FIELDMASK", "x_goog_fieldmask"])
@pytest.mark.parametrize("mask", ["", "candidates", "candidates,usageMetadata/promptTokenCount"])
def test_a_mask_in_a_header_that_leaves_out_counts_is_refused(call, name, mask):
    with pytest.raises(Refusal, match="may leave the token counts out"):
        check(*call, headers={"user-agent": "x", name: mask})


@pytest.mark.parametrize("mask", ["*", "candidates,usageMetadata", "candidates, usageMetadata"])
def test_a_mask_that_keeps_all_counts_passes(call, mask):
    check(*call, f"fields={mask}", {"x-goog-fieldmask": mask})


@pytest.mark.parametrize("query", ["callback=f", "$callback=f", "Callback=f", "%24callback=f", "jsonp=f"])
def test_a_response_wrapped_for_a_script_is_refused(call, query):
    with pytest.raises(Refusal, match="wraps the response"):
        check(*call, query)


@pytest.mark.parametrize(
    "query", ["model=gemini-2.5-pro", "name=models/x", "Model=x", "$model=x", "generateContentRequest.model=x"]
)
def test_a_second_model_in_the_query_is_refused(call, query):
    with pytest.raises(Refusal, match="could name another model"):
        check(*call, query)


def test_other_parameters_and_headers_pass(call):
    check(*call, "alt=sse&key=x&$prettyPrint=false&quotaUser=me", {"x-goog-api-client": "x", "mask": "x"})


def test_masks_of_operations_that_use_no_tokens_pass():
    check("gemini", "/v1beta/models", "fields=models(name)", method="GET")
    check("gemini", "/v1beta/cachedContents", "fields=name", {"x-goog-fieldmask": "name"})


def test_other_providers_do_not_know_these_names():
    check("openai", "/v1/chat/completions", "fields=x&callback=y", {"x-goog-fieldmask": "x"})
