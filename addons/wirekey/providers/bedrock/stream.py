"""The base of the readers of Bedrock's event streams."""

from __future__ import annotations

import re

from wirekey.core.metering.eventstream import EventStreamReader, read_headers
from wirekey.core.metering.json_response import word

_FAILED = re.compile(rb"exception|error")


class BedrockStream(EventStreamReader):
    """Base of the readers of streams. It detects how a stream fails."""

    def failed(self, headers: bytes) -> bool:
        """Return whether a frame ends the stream with an error, and note the type of the error."""
        if not _FAILED.search(headers):
            return False
        fields = read_headers(headers)
        if fields.get(":message-type") not in ("exception", "error"):
            return False
        self.error_type = word(fields.get(":exception-type") or fields.get(":error-code")) or "error"
        return True
