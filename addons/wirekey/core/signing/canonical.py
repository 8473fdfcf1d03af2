"""The canonical request and the signature over it, with botocore's SigV4Auth.

botocore splits a URL, and URL parsing is more lenient than a request line: `urlsplit` cuts at `#` and drops tabs and
line breaks, `str.split` treats every Unicode space as a blank. Here botocore's methods get the raw parts of the
request, so two different requests cannot have the same canonical form.
"""

from __future__ import annotations

import hmac
import re
from collections import OrderedDict
from typing import TYPE_CHECKING

from botocore.auth import SigV4Auth
from botocore.credentials import Credentials

from wirekey.core.signing.request import TERMINATOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wirekey.core.secret import Secret
    from wirekey.core.signing.request import SigV4Credentials

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
BLANKS = re.compile(r"[ \t]+")
KEPT_KEYS = 1024


class SigningKeyCache:
    """The derived keys of the latest pairs, days, regions and services, at most `size`. For one thread."""

    def __init__(self, size: int = KEPT_KEYS) -> None:
        self.size = size
        self._keys: OrderedDict[tuple[str, str, str, str], tuple[Secret, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, credentials: SigV4Credentials, date: str, region: str, service: str) -> bytes:
        """Return the 32 bytes to sign with. Derives them again if the access key has another secret than before."""
        place = (credentials.access_key, date, region, service)
        kept = self._keys.get(place)
        if kept and kept[0] == credentials.secret:
            self._keys.move_to_end(place)
            return kept[1]
        key = f"AWS4{credentials.secret.reveal()}".encode()
        for part in (date, region, service, TERMINATOR):
            key = hmac.digest(key, part.encode(), "sha256")
        self._keys[place] = (credentials.secret, key)
        while len(self._keys) > self.size:
            self._keys.popitem(last=False)
        return key


class HeadersToSign:
    """The headers to sign, as botocore reads them: their names, and all values of one."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def get_all(self, name: str) -> Sequence[str]:
        """Return the values of a header."""
        return self._values[name]


class SigningContext:
    """The part of a request that botocore's string to sign needs: its time, `20260131T235959Z`."""

    __slots__ = ("context",)

    def __init__(self, timestamp: str) -> None:
        self.context = {"timestamp": timestamp}


class SigV4Signature(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Computes signatures of one pair for one region and service."""

    def __init__(self, credentials: SigV4Credentials, region: str, service: str, keys: SigningKeyCache) -> None:
        # botocore needs only the access key, for the scope. It does not get the secret.
        super().__init__(Credentials(credentials.access_key, "held elsewhere"), service, region)
        self._pair = credentials
        self._keys = keys

    def _header_value(self, value: str) -> str:
        return BLANKS.sub(" ", value).strip(" ")

    def canonical(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        headers: HeadersToSign,
        payload: str,
        *,
        path_as_sent: bool = False,
    ) -> str:
        """Return the canonical request. `path`: raw; `query`: decoded; `payload`: SHA-256 in hex or UNSIGNED-PAYLOAD.

        `path_as_sent`: skip the second encoding of the path, which AWS requires.
        """
        return "\n".join(
            (
                method,
                path if path_as_sent else self._normalize_url_path(path),
                self._canonical_query_string_params(query),
                self.canonical_headers(headers) + "\n",
                self.signed_headers(headers),
                payload,
            )
        )

    def scope_of(self, timestamp: str) -> str:
        """Return the scope without the access key: `20260131/us-east-1/bedrock/aws4_request`."""
        scope: str = self.credential_scope(SigningContext(timestamp))
        return scope

    def of(self, canonical: str, timestamp: str) -> str:
        """Return the signature over a canonical request, in hex."""
        text = self.string_to_sign(SigningContext(timestamp), canonical)
        key = self._keys.key(self._pair, timestamp[:8], self._region_name, self._service_name)
        return hmac.digest(key, text.encode(), "sha256").hex()
