"""Requests to Code Assist that refer to input which is not in them."""

import pytest

from tests.providers.test_references import (
    FILE,
    parts,
    test_R42_a_reference_is_recognised_however_its_names_are_written,
    test_R42_a_request_that_refers_to_input_elsewhere_is_recognised,
)

__all__ = [
    "test_R42_a_reference_is_recognised_however_its_names_are_written",
    "test_R42_a_request_that_refers_to_input_elsewhere_is_recognised",
]


@pytest.fixture
def referring():
    body = {"model": "gemini-2.5-pro", "request": parts({"fileData": FILE})}
    return ("code_assist", "/v1internal:generateContent"), body
