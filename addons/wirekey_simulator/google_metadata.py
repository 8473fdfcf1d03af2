"""A stand-in for the metadata server of a machine at Google: its project, its service account, and a token.

https://cloud.google.com/compute/docs/metadata/querying-metadata
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from wirekey_simulator.google_oauth import SCOPE
from wirekey_simulator.plain_http import PlainResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = "/computeMetadata/v1"
FLAVOR = (("Metadata-Flavor", "Google"),)


@dataclass(slots=True)
class GoogleMetadata:
    """A machine with a service account. `issued`: its tokens, in order."""

    project: str = "project-of-the-machine"
    email: str = "machine@project-of-the-machine.iam.gserviceaccount.com"
    lifetime: int = 3600
    issued: list[str] = field(default_factory=list, repr=False)

    def respond(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> PlainResponse:
        """Return the response to one request. One without the flavor, or through a proxy, gets 403."""
        if headers.get("metadata-flavor") != "Google" or "x-forwarded-for" in headers or method != "GET":
            return PlainResponse(403, "text/html", "Forbidden", headers=FLAVOR)
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        account = f"{ROOT}/instance/service-accounts"
        if parts.path in ("", "/"):
            return PlainResponse(200, "application/text", "computeMetadata/\n", headers=FLAVOR)
        if parts.path == f"{ROOT}/project/project-id":
            return PlainResponse(200, "application/text", self.project, headers=FLAVOR)
        if parts.path in (f"{account}/default/", f"{account}/{self.email}/") and query.get("recursive") == ["true"]:
            found = {"aliases": ["default"], "email": self.email, "scopes": [SCOPE]}
            return PlainResponse(200, "application/json", json.dumps(found), headers=FLAVOR)
        if parts.path in (f"{account}/default/token", f"{account}/{self.email}/token"):
            return PlainResponse(200, "application/json", json.dumps(self._token()), headers=FLAVOR)
        return PlainResponse(404, "text/html", "Not Found", headers=FLAVOR)

    def _token(self) -> dict[str, object]:
        token = f"ya29.c.sim-known-{secrets.token_hex(16)}"
        self.issued.append(token)
        return {"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}
