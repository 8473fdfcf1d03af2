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
import threading
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, NoReturn, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from wirekey.identity.jwk import KeySet, KeySetError, VerificationKey, key_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

BETWEEN_FETCHES = 30.0
"""Seconds. Anyone can send tokens with unknown key ids at any rate."""
GOOD_FOR = 600.0
"""Seconds after which a set is fetched again, so that a key that its issuer withdrew is no longer trusted."""
PATIENCE = 5.0
"""Seconds that a request waits for a fetch."""
READ_TIMEOUT, TOTAL_TIMEOUT = 5.0, 15.0
"""Seconds that a fetch may take without receiving a byte, and in total."""
MAX_BYTES = 256 * 1024


class FetchError(Exception):
    """A document could not be fetched. The message has no subject and no final period."""


class Fetch(Protocol):
    """A function that fetches a document over HTTPS. It blocks. Raises FetchError."""

    def __call__(self, url: str) -> bytes:
        """Return the content of a document. Raises FetchError."""


class NoRedirects(HTTPRedirectHandler):
    """A redirect handler that refuses each redirect."""

    def redirect_request(self, req: Request, fp: object, code: int, *_: object) -> NoReturn:
        """Raise FetchError: the configured address must be the final one."""
        raise FetchError(f"it redirects ({code}); configure the address that it redirects to")


def https_fetch(extra_ca: Path | None = None) -> Fetch:
    """Return a function that fetches over HTTPS, directly, because a proxy of the environment may be Wirekey itself."""
    import certifi

    context = ssl.create_default_context(cafile=certifi.where())
    if extra_ca:
        context.load_verify_locations(extra_ca)
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context), NoRedirects())
    opener.addheaders = [("Accept", "application/jwk-set+json, application/json"), ("User-Agent", "wirekey")]

    def fetch(url: str) -> bytes:
        ends = time.monotonic() + TOTAL_TIMEOUT
        content = b""
        try:
            with opener.open(Request(url), timeout=READ_TIMEOUT) as response:  # noqa: S310  # the settings take https only
                while part := response.read1(64 * 1024):
                    content += part
                    if len(content) > MAX_BYTES:
                        raise FetchError(f"its response is longer than {MAX_BYTES} bytes")
                    if time.monotonic() > ends:
                        raise FetchError(f"its response takes longer than {TOTAL_TIMEOUT:g} s")
        except HTTPError as error:
            raise FetchError(f"it responds with {error.code}") from error
        except URLError as error:
            raise FetchError(f"it cannot be reached ({error.reason})") from error
        except (OSError, HTTPException, ValueError) as error:
            raise FetchError(f"its response is incomplete ({type(error).__name__})") from error
        return content

    return fetch


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
        self._pending: asyncio.Future[None] | None = None

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

    def _start(self) -> asyncio.Future[None] | None:
        now = self._clock()
        if now - self._started < BETWEEN_FETCHES:
            return None
        self._started = now
        loop = asyncio.get_running_loop()
        self._pending = loop.create_future()

        def work() -> None:
            try:
                result: KeySet | Exception = key_set(self._fetch(self.url), self._algorithms)
            except Exception as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(self._finish, result)

        # Not the loop's own threads: its end waits for them, and this one may hang in the resolver.
        threading.Thread(target=work, name="wirekey-jwks", daemon=True).start()
        return self._pending

    def _finish(self, result: KeySet | Exception) -> None:
        pending_fetch, self._pending = self._pending, None
        if isinstance(result, KeySet):
            self._keys, self._good_since = result, self._clock()
            if not len(result):
                logger.warning("The key set at %s has no usable key. Tokens of this issuer are rejected.", self.shown)
        else:
            self._log_failure(result)
        if pending_fetch and not pending_fetch.done():
            pending_fetch.set_result(None)

    def _log_failure(self, error: Exception) -> None:
        match error:
            case FetchError():
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
