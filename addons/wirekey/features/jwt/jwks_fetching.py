"""Fetches the keys of an external issuer from its `jwks_url`, in a thread beside the event loop.

One fetch runs at a time, at most one in 30 seconds. A key set is fetched again after ten minutes, and when a token
names a key that is not in it. If the issuer cannot be reached or responds with something else, its last valid set stays
in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from wirekey.core.daemon_thread import in_daemon_thread
from wirekey.core.egress.addresses import is_address, is_loopback, is_own_name
from wirekey.core.egress.http_client import HttpError, HttpRequest, HttpServer, checked, fetch, resolve
from wirekey.core.egress.upstream_proxy import no_proxy_for
from wirekey.features.jwt.jwk import KeySet, KeySetError, VerificationKey, key_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wirekey.core.egress.upstream_proxy import ProxyFor

logger = logging.getLogger(__name__)

BETWEEN_FETCHES = 30.0
"""Seconds. Anyone can send tokens with unknown key ids at any rate."""
GOOD_FOR = 600.0
"""Seconds after which a set is fetched again, so that a key that its issuer withdrew is no longer trusted."""
PATIENCE = 5.0
"""Seconds that a request waits for a fetch."""
MAX_BYTES = 256 * 1024
HEADERS = (("Accept", "application/jwk-set+json, application/json"), ("User-Agent", "wirekey"))


class Fetch(Protocol):
    """A function that fetches a document over HTTPS. It blocks. Raises HttpError."""

    def __call__(self, url: str) -> bytes:
        """Return the content of a document. Raises HttpError."""


def https_fetch(extra_ca: Path | None = None, proxy_for: ProxyFor = no_proxy_for) -> Fetch:
    """Return a function that fetches over HTTPS: from anywhere but link-local, metadata and multicast addresses.

    The operator names the issuer, so it may be on a private network. Loopback is used only if the URL names it. A proxy
    resolves the name itself.
    """
    import certifi

    context = ssl.create_default_context(cafile=certifi.where())
    if extra_ca:
        context.load_verify_locations(extra_ca)

    def fetch_document(url: str) -> bytes:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        proxy = proxy_for(host, port)
        addresses = (host,) if proxy and is_address(host) else () if proxy else resolve(host, port)
        if not (is_own_name(host) and all(map(is_loopback, addresses))):
            addresses = checked(host, addresses, private=True)
        if proxy:
            addresses = resolve(proxy.host, proxy.port)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        request = HttpRequest("GET", target, (("Host", parts.netloc), *HEADERS), MAX_BYTES)
        [response] = fetch(HttpServer(host, port, context, addresses, proxy), [request])
        if 300 <= response.status < 400:
            raise HttpError(f"it redirects ({response.status}); configure the address that it redirects to")
        if response.status != 200:
            raise HttpError(f"it responds with {response.status}")
        return response.body

    return fetch_document


class FetchedKeys:
    """The keys of one external issuer, fetched when needed. All methods are for the event loop's thread."""

    def __init__(
        self, url: str, algorithms: tuple[str, ...], fetch: Fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.url = url
        self._algorithms = algorithms
        self._fetch = fetch
        self._clock = clock
        self._keys = KeySet()
        self._started = self._good_since = float("-inf")
        self._pending: asyncio.Task[None] | None = None

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Return the known key for an id and an algorithm, or None. Never waits."""
        return self._keys.find(kid, algorithm)

    def holds(self, thumbprint: str) -> bool:
        """Return whether a key of this thumbprint is still in the set."""
        return self._keys.holds(thumbprint)

    async def fetch_again(self) -> None:
        """Wait, for at most PATIENCE seconds, until the set is as new as the fetch interval allows. Never raises."""
        pending_fetch = self._pending or self._start()
        if pending_fetch:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(pending_fetch), PATIENCE)

    def keep_fresh(self) -> None:
        """Start a fetch if one is due. Call it twice a second, within the event loop."""
        if self._pending is None and self._clock() - self._good_since > GOOD_FOR:
            self._start()

    def _start(self) -> asyncio.Task[None] | None:
        now = self._clock()
        if now - self._started < BETWEEN_FETCHES:
            return None
        self._started = now
        self._pending = asyncio.Task(self._renew(), loop=asyncio.get_running_loop(), eager_start=True)
        return self._pending

    async def _renew(self) -> None:
        try:
            keys = await in_daemon_thread(lambda: key_set(self._fetch(self.url), self._algorithms), "wirekey-jwks")
        except Exception as error:
            self._log_failure(error)
        else:
            self._keys, self._good_since = keys, self._clock()
            if not len(keys):
                logger.warning("The key set at %s has no usable key. Tokens of this issuer are rejected.", self.shown)
        finally:
            self._pending = None

    def _log_failure(self, error: Exception) -> None:
        match error:
            case HttpError():
                reason = str(error)
            case KeySetError():
                reason = f"its response {error}"
            case _:
                reason = type(error).__name__
        known = "The previous keys stay in use" if len(self._keys) else "Its tokens are rejected until they can"
        logger.warning("The keys at %s could not be fetched: %s. %s.", self.shown, reason, known)

    @property
    def shown(self) -> str:
        """The address without its query, which may contain a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"
