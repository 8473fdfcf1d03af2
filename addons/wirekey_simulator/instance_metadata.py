"""A stand-in for an instance's metadata service, version 2: first a token, then the role's credentials.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wirekey_simulator.plain_http import PlainResponse
from wirekey_simulator.sigv4 import Account

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLES = "/latest/meta-data/iam/security-credentials/"


@dataclass(slots=True)
class InstanceMetadata:
    """An instance with the role `role`, or without one if it is empty. Credentials last `lifetime` seconds."""

    role: str = "wirekey-instance"
    lifetime: float = 6 * 3600.0
    token: str = field(default_factory=lambda: secrets.token_urlsafe(40), repr=False)
    go_on: threading.Event = field(default_factory=threading.Event)
    """Requests wait for it. It is set at the start."""
    request_count: int = 0
    issued: dict[str, Account] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.go_on.set()

    def respond(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> PlainResponse:
        """Return the response to one request."""
        self.request_count += 1
        self.go_on.wait()
        if method == "PUT" and target == "/latest/api/token":
            return PlainResponse(200, "text/plain", self.token)
        if headers.get("x-aws-ec2-metadata-token") != self.token:
            return PlainResponse(401, "text/html", "Unauthorized")
        if self.role and target == ROLES:
            return PlainResponse(200, "text/plain", self.role)
        if self.role and target == ROLES + self.role:
            return PlainResponse(200, "text/plain", json.dumps(self._credentials()))
        return PlainResponse(404, "text/html", "Not Found")

    def _credentials(self) -> dict[str, str]:
        access_key = f"ASIA{secrets.token_hex(8).upper()}"
        made = Account(secrets.token_urlsafe(30), secrets.token_urlsafe(120), time.time() + self.lifetime)
        self.issued[access_key] = made
        written = datetime.now(UTC), datetime.fromtimestamp(made.expires_at or 0, UTC)
        begun, ends = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in written)
        return {
            "Code": "Success",
            "LastUpdated": begun,
            "Type": "AWS-HMAC",
            "AccessKeyId": access_key,
            "SecretAccessKey": made.secret,
            "Token": made.token or "",
            "Expiration": ends,
        }
