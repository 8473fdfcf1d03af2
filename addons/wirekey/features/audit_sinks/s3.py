"""A bucket of S3 as a sink: objects of JSON lines, which nobody can change or delete while they are retained."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from wirekey.features.audit_sinks.formats import form_of, json_line
from wirekey.features.audit_sinks.http import HttpTarget
from wirekey.features.audit_sinks.sink import SinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wirekey.core.audit.event import AuditEvent
    from wirekey.core.egress.http_client import HttpResponse
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.core.signing.request import SigV4Credentials
    from wirekey.features.audit_sinks.config import AuditSinkConfig

OBJECT_EVENTS = 5000
"""Events in an object, some megabytes."""
EXISTS = 412
"""The status of a conditional request for an object that exists. Its name has the hash of its content."""
ENABLED = b"<ObjectLockEnabled>Enabled</ObjectLockEnabled>"
CODES = {
    301: "the bucket is in another region",
    403: "its credentials may not do this",
    404: "there is no such bucket, or it has no object lock",
}


class S3Sink:
    """A bucket. `settings`: of type s3. `credentials` returns the key pair, and may block and raise SinkError.

    Raises OSError if `ca_file` cannot be read.
    """

    most = OBJECT_EVENTS
    confirms = True

    def __init__(
        self, settings: AuditSinkConfig, credentials: Callable[[], SigV4Credentials], proxy_for: ProxyFor
    ) -> None:
        assert settings.bucket
        assert settings.region
        assert settings.retention_days
        self.linger = settings.flush_seconds
        bucket, endpoint = settings.bucket, settings.endpoint
        self._target = HttpTarget(
            endpoint or f"https://{bucket}.s3.{settings.region}.amazonaws.com", settings.ca_file, proxy_for
        )
        self._root = f"{self._target.path.rstrip('/')}/{bucket}" if endpoint else ""
        self._settings, self._credentials, self._region = settings, credentials, settings.region
        self._retention = timedelta(days=settings.retention_days)
        self._form = form_of(settings.format)
        self.place = f"{self._target.place}{self._root}"

    def send(self, events: Sequence[AuditEvent]) -> None:
        """Store events as an object. Raises SinkError."""
        content = b"".join(json_line(self._form(event)) + b"\n" for event in events)
        digest = hashlib.sha256(content)
        until = datetime.now(UTC) + self._retention
        headers = {
            "Content-Type": "application/x-ndjson",
            "Content-MD5": b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
            "If-None-Match": "*",
            "x-amz-checksum-sha256": b64encode(digest.digest()).decode(),
            "x-amz-object-lock-mode": self._settings.mode.upper(),
            "x-amz-object-lock-retain-until-date": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        name = object_name(self._settings.prefix, events[0], digest.hexdigest())
        response = self._request("PUT", f"{self._root}/{quote(name)}", headers, content)
        if response.status not in (200, EXISTS):
            raise SinkError(reason_of(response.status))

    def check(self) -> None:
        """Check that the bucket has an object lock, and that the credentials are valid. Raises SinkError."""
        response = self._request("GET", f"{self._root or '/'}?object-lock", {}, b"")
        if response.status != 200:
            raise SinkError(reason_of(response.status))
        if ENABLED not in response.body:
            raise SinkError("the bucket has no object lock")

    def close(self) -> None:
        """Nothing is open: each request has a connection of its own."""

    def _request(self, method: str, target: str, headers: dict[str, str], body: bytes) -> HttpResponse:
        from botocore.awsrequest import AWSRequest  # botocore loads slowly

        from wirekey.features.audit_sinks.s3_signing import signed

        every = {"Host": self._target.authority, "User-Agent": "wirekey", "Content-Length": str(len(body)), **headers}
        scheme = "https" if self._target.is_secure else "http"
        url = f"{scheme}://{self._target.authority}{target}"
        sent = signed(AWSRequest(method, url, every, body), self._credentials(), self._region)
        return self._target.request(method, target, sent, body)


def object_name(prefix: str, first: AuditEvent, digest: str) -> str:
    """Return the name of an object: by the day and the id of its first call, and the hash of its content.

    So the same events, sent again after a lost response, are the same object.
    """
    day = str(first["time"])[:10].replace("-", "/")
    return f"{prefix}{day}/{first['id']}-{digest[:32]}.ndjson"


def reason_of(status: int) -> str:
    """Return why a request was not successful."""
    return f"it responds with status {status}" + (f": {CODES[status]}" if status in CODES else "")
