"""Whose a Gemini resumable upload is: its later requests carry no credential, only the upload id of their URL.

The id is a capability, so only its hash is kept. https://ai.google.dev/gemini-api/docs/files
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wirekey.credential_headers import query_values

if TYPE_CHECKING:
    from wirekey.identity.jwt_tokens import TokenReference

MOST_UPLOADS = 10_000
LONGEST_UPLOAD = 24 * 3600.0
"""Seconds after which an upload that was begun is forgotten."""
UPLOAD_PATH = "/upload/"
UPLOAD_URL_HEADERS = ("x-goog-upload-url", "x-goog-upload-control-url")


@dataclass(frozen=True, slots=True)
class Begun:
    agent: str | None
    """The agent's id; None where identity is not required and nobody said who they are."""
    token: TokenReference | None = field(repr=False)
    """What is kept of the token that the agent had, by which it is looked up again."""
    at: float


@dataclass(slots=True)
class Uploads:
    """The uploads under way. Times are seconds of any one monotonic clock, given by the caller."""

    most: int = MOST_UPLOADS
    longest: float = LONGEST_UPLOAD
    begun: OrderedDict[bytes, Begun] = field(default_factory=OrderedDict, repr=False)

    def remember(self, upload_id: str, agent: str | None, token: TokenReference | None, now: float) -> None:
        """Note that this agent began the upload. An id is never given to a second agent."""
        self.begun.setdefault(digest(upload_id), Begun(agent, token, now))
        while len(self.begun) > self.most:
            self.begun.popitem(last=False)

    def find(self, upload_id: str, now: float) -> Begun | None:
        """Tell who began an upload; None where nobody did, or too long ago."""
        while self.begun and now - next(iter(self.begun.values())).at > self.longest:
            self.begun.popitem(last=False)
        return self.begun.get(digest(upload_id))


def digest(upload_id: str) -> bytes:
    return hashlib.sha256(upload_id.encode("utf-8", "surrogatepass")).digest()


def upload_ids(path: str) -> tuple[str, ...]:
    """Give the upload ids in a raw request path with its query, in whatever spelling; none where it is no upload."""
    bare, _, query = path.partition("?")
    return tuple(query_values(query, "upload-id")) if query and bare.startswith(UPLOAD_PATH) else ()


def id_of_upload_url(url: str) -> str | None:
    """Give the upload id of the URL with which an upload's first request is answered; None where it has not one."""
    found = upload_ids(url[url.find(UPLOAD_PATH) :]) if UPLOAD_PATH in url else ()
    return found[0] if len(found) == 1 else None


def readdressed(url: str, upstream: str, base: str) -> str:
    """Give the URL at `base` (scheme://host) where it leads to `upstream`: the next request is to come back here."""
    parts, here = urlsplit(url), urlsplit(base)
    return parts._replace(scheme=here.scheme, netloc=here.netloc).geturl() if parts.netloc == upstream else url
