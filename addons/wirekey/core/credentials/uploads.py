"""The owners of Gemini resumable uploads, whose later requests carry no credential, only the upload id of their URL.

The id grants access, so only its hash is kept. https://ai.google.dev/gemini-api/docs/files
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wirekey.providers.credential_headers import query_values

if TYPE_CHECKING:
    from wirekey.core.identity.proof import TokenReference

MAX_UPLOADS = 10_000
MAX_UPLOAD_AGE = 24 * 3600.0
"""Seconds after which an upload is forgotten."""
UPLOAD_PATH = "/upload/"
UPLOAD_URL_HEADERS = ("x-goog-upload-url", "x-goog-upload-control-url")


@dataclass(frozen=True, slots=True)
class StartedUpload:
    """An upload in progress, with its owner. `at`: when it began, by the caller's monotonic clock."""

    agent: str | None
    """The agent's id, or None if identity is not required and the client sent none."""
    token: TokenReference | None = field(repr=False)
    """The reference to the agent's token, by which the agent is looked up again."""
    at: float


@dataclass(slots=True)
class Uploads:
    """The uploads in progress. Times are seconds of one monotonic clock, passed by the caller."""

    most: int = MAX_UPLOADS
    longest: float = MAX_UPLOAD_AGE
    started: OrderedDict[bytes, StartedUpload] = field(default_factory=OrderedDict, repr=False)

    def remember(self, upload_id: str, agent: str | None, token: TokenReference | None, now: float) -> None:
        """Record that this agent started the upload. An id never moves to another agent."""
        self.started.setdefault(digest(upload_id), StartedUpload(agent, token, now))
        while len(self.started) > self.most:
            self.started.popitem(last=False)

    def find(self, upload_id: str, now: float) -> StartedUpload | None:
        """Return the upload of an id, or None if it is unknown or too old."""
        while self.started and now - next(iter(self.started.values())).at > self.longest:
            self.started.popitem(last=False)
        return self.started.get(digest(upload_id))


def digest(upload_id: str) -> bytes:
    """Return the hash under which an upload id is kept."""
    return hashlib.sha256(upload_id.encode("utf-8", "surrogatepass")).digest()


def upload_ids(path: str) -> tuple[str, ...]:
    """Return the upload ids in a raw request path with its query, in any encoding. Empty if it is not an upload."""
    bare, _, query = path.partition("?")
    return tuple(query_values(query, "upload-id")) if query and bare.startswith(UPLOAD_PATH) else ()


def id_of_upload_url(url: str) -> str | None:
    """Return the upload id of the URL in the response to the first request, or None if it does not have exactly one."""
    found = upload_ids(url[url.find(UPLOAD_PATH) :]) if UPLOAD_PATH in url else ()
    return found[0] if len(found) == 1 else None


def with_gateway_base(url: str, upstream: str, base: str) -> str:
    """Return an upstream URL with `base` (scheme://host) in place of its host, so that the next request comes here.

    Any other URL is returned unchanged.
    """
    parts, here = urlsplit(url), urlsplit(base)
    return parts._replace(scheme=here.scheme, netloc=here.netloc).geturl() if parts.netloc == upstream else url
