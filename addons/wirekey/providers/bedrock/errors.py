"""Errors of Wirekey's own in the format of Bedrock's APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wirekey.core.errors import INSUFFICIENT_QUOTA
from wirekey.core.metering.eventstream import write_frame
from wirekey.providers.bedrock.responses import EVENT_STREAM

if TYPE_CHECKING:
    from wirekey.core.errors import Refusal
    from wirekey.core.operation import Operation

_ERRORS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    407: "UnrecognizedClientException",
    408: "ModelTimeoutException",
    429: "ThrottlingException",
    500: "InternalServerException",
    502: "ServiceUnavailableException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
}
# The members of both streams' unions; modelTimeoutException is one of invoke's only.
_STREAM_ERRORS = {
    429: "throttlingException",
    500: "internalServerException",
    502: "serviceUnavailableException",
    503: "serviceUnavailableException",
    504: "modelStreamErrorException",
}
_AGENT_STREAM_ERRORS = {
    429: "throttlingException",
    500: "internalServerException",
    502: "badGatewayException",
    503: "badGatewayException",
    504: "dependencyFailedException",
}
"""Those members of an agent's stream that fit; it has no serviceUnavailableException."""


class BedrockErrors:
    """Writes a refusal as Bedrock would, so that its SDK raises its usual exception."""

    def error_response(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of an error."""
        fallback = _ERRORS[400 if refusal.status < 500 else 500]
        usual = _ERRORS.get(refusal.status, fallback)
        if refusal.code == INSUFFICIENT_QUOTA:
            usual = "ServiceQuotaExceededException"
        headers = {
            "content-type": "application/json",
            "x-amzn-errortype": refusal.error_type or usual,
            "x-amzn-requestid": request_id,
        }
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        return msgspec.json.encode({"message": refusal.message}), headers

    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        """Return the bytes that end a stream with an error; empty if its format has none."""
        if not content_type.lower().startswith(EVENT_STREAM):
            return b""
        errors = _AGENT_STREAM_ERRORS if operation.name == "invoke-agent" else _STREAM_ERRORS
        fallback = "validationException" if refusal.status < 500 else "internalServerException"
        headers = {
            ":exception-type": errors.get(refusal.status, fallback),
            ":content-type": "application/json",
            ":message-type": "exception",
        }
        return write_frame(headers, msgspec.json.encode({"message": refusal.message}))
