"""Requests to Vertex AI that refer to input which is not in them."""

import pytest

from tests.providers.test_references import (
    URL,
    parts,
    said,
    source,
    test_R42_a_reference_is_recognised_however_its_names_are_written,
    test_R42_a_request_that_refers_to_input_elsewhere_is_recognised,
)

__all__ = [
    "test_R42_a_reference_is_recognised_however_its_names_are_written",
    "test_R42_a_request_that_refers_to_input_elsewhere_is_recognised",
]

AT = "/v1/projects/p/locations/global"
REFERRING = [
    ("endpoints/openapi/chat/completions", said({"type": "image_url", "image_url": {"url": URL}})),
    ("publishers/anthropic/models/claude-opus-5:rawPredict", source("image", type="url", url=URL)),
    (
        "publishers/google/models/gemini-2.5-pro:generateContent",
        {**parts(), "tools": [{"retrieval": {"vertexRagStore": {}}}]},
    ),
]


@pytest.fixture(params=REFERRING)
def referring(request):
    path, body = request.param
    return ("vertex", f"{AT}/{path}"), body
