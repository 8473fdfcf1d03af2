"""The keys of another issuer, fetched from its `jwks_url` away from the event loop.

One fetch at a time, at most one in 30 seconds; a set is looked at again after ten minutes, and whenever a token names
a key that is not in it. Where the issuer cannot be reached, or answers nonsense, its last good set stays in force.
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
"""Seconds: anyone can send tokens with unknown key ids as fast as they like."""
GOOD_FOR = 600.0
"""Seconds after which a set is fetched again, so that a key that its issuer took back is believed no more."""
PATIENCE = 5.0
"""Seconds that a request waits for a fetch."""
SILENCE, WHOLE = 5.0, 15.0
"""Seconds that a fetch may take without a byte, and in all."""
MOST_BYTES = 256 * 1024


class FetchError(Exception):
    """Why a document could not be had: a sentence's end."""


class Fetch(Protocol):
    """Gets a document; blocks. Raises FetchError."""

    def __call__(self, url: str) -> bytes: ...


class NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: object, code: int, *_: object) -> NoReturn:
        raise FetchError(f"it answers with a redirect ({code}); write the address that it leads to")


def https_fetch(extra_ca: Path | None = None) -> Fetch:
    """Give what fetches by HTTPS, directly: a proxy of the environment may be ourselves."""
    import certifi

    context = ssl.create_default_context(cafile=certifi.where())
    if extra_ca:
        context.load_verify_locations(extra_ca)
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context), NoRedirects())
    opener.addheaders = [("Accept", "application/jwk-set+json, application/json"), ("User-Agent", "wirekey")]

    def fetch(url: str) -> bytes:
        ends = time.monotonic() + WHOLE
        content = b""
        try:
            with opener.open(Request(url), timeout=SILENCE) as answer:  # noqa: S310  # the settings take https only
                while part := answer.read1(64 * 1024):
                    content += part
                    if len(content) > MOST_BYTES:
                        raise FetchError(f"its answer is longer than {MOST_BYTES} bytes")
                    if time.monotonic() > ends:
                        raise FetchError(f"its answer takes longer than {WHOLE:g} s")
        except HTTPError as error:
            raise FetchError(f"it answers {error.code}") from error
        except URLError as error:
            raise FetchError(f"it cannot be reached ({error.reason})") from error
        except (OSError, HTTPException, ValueError) as error:
            raise FetchError(f"its answer breaks off ({type(error).__name__})") from error
        return content

    return fetch


class FetchedKeys:
    """The keys of one issuer; all methods are for the event loop's thread."""

    def __init__(
        self, url: str, algorithms: tuple[str, ...], fetch: Fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.url = url
        self._algorithms = algorithms
        self._fetch = fetch
        self._clock = clock
        self._keys = KeySet()
        self._started = self._good_since = float("-inf")
        self._flight: asyncio.Future[None] | None = None

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        return self._keys.find(kid, algorithm)

    def holds(self, thumbprint: str) -> bool:
        return self._keys.holds(thumbprint)

    async def look_again(self) -> None:
        """Wait, for PATIENCE at most, until the set is as new as it may be. Never raises."""
        flight = self._flight or self._start()
        if flight:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(flight), PATIENCE)

    def keep_fresh(self) -> None:
        """Begin a fetch where one is due; call it twice a second, within the event loop."""
        if self._flight is None and self._clock() - self._good_since > GOOD_FOR:
            self._start()

    def _start(self) -> asyncio.Future[None] | None:
        now = self._clock()
        if now - self._started < BETWEEN_FETCHES:
            return None
        self._started = now
        loop = asyncio.get_running_loop()
        self._flight = loop.create_future()

        def work() -> None:
            try:
                result: KeySet | Exception = key_set(self._fetch(self.url), self._algorithms)
            except Exception as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(self._land, result)

        # Not the loop's own threads: its end would wait for them, and this may hang in the resolver.
        threading.Thread(target=work, name="wirekey-jwks", daemon=True).start()
        return self._flight

    def _land(self, result: KeySet | Exception) -> None:
        flight, self._flight = self._flight, None
        if isinstance(result, KeySet):
            self._keys, self._good_since = result, self._clock()
            if not len(result):
                logger.warning("The key set at %s has no key that can be used: its tokens are refused.", self.shown)
        else:
            self._complain(result)
        if flight and not flight.done():
            flight.set_result(None)

    def _complain(self, error: Exception) -> None:
        match error:
            case FetchError():
                reason = str(error)
            case KeySetError():
                reason = f"its answer {error}"
            case _:
                reason = type(error).__name__
        known = "The keys known before stay in force" if len(self._keys) else "Until it can, its tokens are refused"
        logger.warning("The keys at %s could not be fetched: %s. %s.", self.shown, reason, known)

    @property
    def shown(self) -> str:
        """The address without its query, which may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"
