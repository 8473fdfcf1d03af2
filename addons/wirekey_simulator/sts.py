"""A stand-in for AWS's token service: AssumeRole, as strict about names and tags as AWS.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
The signature is not verified. It must be present, by a known access key, and for this service.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from wirekey_simulator.plain_http import PlainResponse
from wirekey_simulator.sigv4 import Account

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
REQUEST_ID = "00000000-0000-4000-8000-000000000000"
CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)/\d{8}/([a-z0-9-]+)/sts/aws4_request, SignedHeaders=[a-z0-9;-]+, "
    r"Signature=[0-9a-f]{64}"
)
ROLE = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/([\w+=,.@/-]+)", re.ASCII)
SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
TAG_KEY = re.compile(r"[\w .:/=+@-]{1,128}")
TAG_VALUE = re.compile(r"[\w .:/=+@-]{0,256}")


@dataclass(frozen=True, slots=True)
class Assumed:
    """One successful AssumeRole call."""

    role_arn: str
    session_name: str
    tags: dict[str, str]
    access_key: str
    """The caller's access key."""
    region: str


@dataclass(slots=True)
class StsService:
    """Serves `known` access keys, or all if None. Sessions last `lifetime` seconds."""

    known: Collection[str] | None = None
    lifetime: float = 3600.0
    refuse_with: str = ""
    """An error code to respond with instead, such as AccessDenied."""
    refuse_only: str = ""
    """The session name to refuse, or empty for all."""
    go_on: threading.Event = field(default_factory=threading.Event)
    """Requests wait for it. It is set at the start."""
    request_count: int = 0
    assumed: list[Assumed] = field(default_factory=list)
    issued: dict[str, Account] = field(default_factory=dict, repr=False)
    """Access key → the account with which the simulator checks its signatures."""

    def __post_init__(self) -> None:
        self.go_on.set()

    def respond(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> PlainResponse:
        """Return the response to one request."""
        self.request_count += 1
        self.go_on.wait()
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if method != "POST" or target != "/" or form.get("Action") != "AssumeRole":
            return failed(400, "InvalidAction", "Could not find operation for this stand-in.")
        caller = CREDENTIAL.fullmatch(headers.get("authorization", ""))
        if caller is None or "x-amz-date" not in headers:
            return failed(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
        if self.known is not None and caller[1] not in self.known:
            return failed(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        return self._assume(form, caller[1], caller[2])

    def _assume(self, form: Mapping[str, str], access_key: str, region: str) -> PlainResponse:
        role, name, tags = ROLE.fullmatch(form.get("RoleArn", "")), form.get("RoleSessionName", ""), tags_of(form)
        if role is None or not SESSION_NAME.fullmatch(name):
            return failed(400, "ValidationError", "1 validation error detected: roleArn or roleSessionName")
        if not all(TAG_KEY.fullmatch(key) and TAG_VALUE.fullmatch(value) for key, value in tags.items()):
            return failed(400, "ValidationError", "1 validation error detected: tags")
        if self.refuse_with and self.refuse_only in ("", name):
            return failed(403, self.refuse_with, f"{access_key} may not do this (simulated).")
        self.assumed.append(Assumed(role[0], name, tags, access_key, region))
        made = Account(secrets.token_urlsafe(30), secrets.token_urlsafe(120), time.time() + self.lifetime)
        issued = f"ASIA{secrets.token_hex(8).upper()}"
        self.issued[issued] = made
        return PlainResponse(200, "text/xml", assumed_xml(role, name, issued, made))


def tags_of(form: Mapping[str, str]) -> dict[str, str]:
    """Read `Tags.member.N.Key` and `.Value`."""
    places = [name.removesuffix(".Key") for name in form if re.fullmatch(r"Tags\.member\.\d+\.Key", name)]
    return {form[f"{place}.Key"]: form.get(f"{place}.Value", "") for place in places}


def assumed_xml(role: re.Match[str], name: str, access_key: str, made: Account) -> str:
    """Return the XML of a successful AssumeRole."""
    user = f"arn:aws:sts::{role[1]}:assumed-role/{role[2].rpartition('/')[2]}/{name}"
    ends = datetime.fromtimestamp(made.expires_at or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f'<AssumeRoleResponse xmlns="{NAMESPACE}"><AssumeRoleResult>'
        f"<AssumedRoleUser><AssumedRoleId>AROASTANDIN:{escape(name)}</AssumedRoleId><Arn>{escape(user)}</Arn>"
        "</AssumedRoleUser>"
        f"<Credentials><AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{made.secret}</SecretAccessKey>"
        f"<SessionToken>{made.token}</SessionToken><Expiration>{ends}</Expiration></Credentials>"
        f"</AssumeRoleResult><ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>"
        "</AssumeRoleResponse>"
    )


def failed(status: int, code: str, message: str) -> PlainResponse:
    """Return an error in AWS's XML."""
    return PlainResponse(
        status,
        "text/xml",
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{escape(code)}</Code>'
        f"<Message>{escape(message)}</Message></Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>",
    )
