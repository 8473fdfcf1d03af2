"""Heads of requests to Vertex AI that would hide token counts, or name a second model."""

import pytest

from tests.providers.test_gemini_head import (
    test_a_mask_in_a_header_that_leaves_out_counts_is_refused,
    test_a_mask_in_the_query_that_leaves_out_counts_is_refused,
    test_a_mask_that_keeps_all_counts_passes,
    test_a_response_wrapped_for_a_script_is_refused,
    test_a_second_model_in_the_query_is_refused,
    test_other_parameters_and_headers_pass,
)

__all__ = [
    "test_a_mask_in_a_header_that_leaves_out_counts_is_refused",
    "test_a_mask_in_the_query_that_leaves_out_counts_is_refused",
    "test_a_mask_that_keeps_all_counts_passes",
    "test_a_response_wrapped_for_a_script_is_refused",
    "test_a_second_model_in_the_query_is_refused",
    "test_other_parameters_and_headers_pass",
]

AT = "/v1/projects/p/locations/global"


@pytest.fixture(
    params=[
        "publishers/google/models/gemini-2.5-pro:generateContent",
        "publishers/anthropic/models/claude-opus-5:streamRawPredict",
        "endpoints/openapi/chat/completions",
    ]
)
def call(request):
    return "vertex", f"{AT}/{request.param}"
