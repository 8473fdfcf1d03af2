"""Companion operations of Gemini CLI at Code Assist."""

import pytest

from tests.providers.test_companions import (
    test_a_known_request_is_a_companion_operation,
    test_no_companion_operation_is_an_operation_of_the_api,
)

__all__ = [
    "test_a_known_request_is_a_companion_operation",
    "test_no_companion_operation_is_an_operation_of_the_api",
]


@pytest.fixture(
    params=[
        ("POST", "/v1internal:fetchAdminControls", "settings"),
        ("GET", "/v1internal:getCodeAssistGlobalUserSetting", "settings"),
        ("POST", "/v1internal:recordCodeAssistMetrics", "telemetry"),
    ]
)
def known(request):
    return "code_assist", *request.param
