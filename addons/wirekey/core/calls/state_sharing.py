"""The facts that processes share: cool-downs of keys, the owners of uploads, and keys of sessions.

Each process knows these itself. So a single process never asks the shared state, and several ask only for what they do
not know. Nothing here delays a response: what a call leaves behind is written in the background.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from wirekey.core.credentials.pool import MAX_COOL_DOWN
from wirekey.core.credentials.uploads import MAX_UPLOAD_AGE
from wirekey.core.credentials.uploads import digest as upload_digest
from wirekey.core.errors import Fault, Refusal
from wirekey.core.metering.json_response import DECODE_ERRORS
from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from wirekey.core.calls.settings import Settings
    from wirekey.core.credentials.pool import KeyPool, ProviderKey
    from wirekey.core.credentials.uploads import Uploads
    from wirekey.core.identity.proof import KeptCredential, TokenReference
    from wirekey.core.shared_state import SharedState
    from wirekey.feature import FeatureValues

logger = logging.getLogger(__name__)

COOL_DOWNS = "cool-downs"
MOST_TASKS = 1000
"""Writes in progress. Beyond this number, further ones are left out."""
UNREACHABLE = Refusal(
    503,
    "shared_state_away",
    "Wirekey's shared state does not respond, so the request was not sent. Try again later.",
    Fault.OPERATOR,
)


_cool_down = msgspec.json.Decoder(tuple[str, float, int])


@dataclass(frozen=True, slots=True)
class CredentialKind:
    """The part of a feature that shares what it keeps of its credentials with other processes.

    `restore` returns the kept credential of its `values`, with the services of features; None if it is unknown here.
    """

    name: str
    restore: Callable[[Any, FeatureValues], KeptCredential | None]


class SharingServices(Protocol):
    """The services of the process with the facts that are shared."""

    settings: Settings
    shared_state: SharedState
    uploads: Uploads
    opened: FeatureValues


class StateSharing:
    """Reports to other processes what this one learns, and asks them.

    `refuses`: whether a call that must ask is refused while the shared state does not respond. Otherwise this process
    decides alone.
    """

    def __init__(self, services: SharingServices) -> None:
        self.services = services
        self.refuses = False
        self.kinds = {kind.name: kind for kind in parts(CredentialKind)}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> SharedState:
        """The shared state, for what a feature shares itself."""
        return self.services.shared_state

    @property
    def is_needed(self) -> bool:
        """Whether there are other processes."""
        return not self.state.is_local

    async def begin(self) -> None:
        """Learn which keys cool down, and follow later ones."""
        state = self.state
        state.subscribe(COOL_DOWNS, self._receive_cool_down)
        try:
            for pool in self.services.settings.all_pools().values():
                for key in pool.keys:
                    if (found := await state.get(f"cool-down:{key.label}")) is not None:
                        self._receive_cool_down(found)
        except SharedStateUnavailableError as error:
            logger.warning("The cool-downs of other processes are not known: %s.", error)

    # Cool-downs of keys.

    def record_status(
        self, pool: KeyPool, key: ProviderKey, status: int, retry_after: float | None, now: float
    ) -> None:
        """Record a status in the key's pool, and tell the others if its cool-down changed. See `KeyPool`."""
        before = key.cooling_until
        pool.record_status(key, status, retry_after, now)
        if key.cooling_until != before and self.is_needed:
            left = key.cooling_until - now if key.cooling_until else 0.0
            message = msgspec.json.encode([key.label, time.time() + left if left else 0.0, key.refusals])
            self.write(self._tell_cool_down(key.label, message, left))

    def record_rejection(self, pool: KeyPool, key: ProviderKey, now: float) -> None:
        """Record that the provider rejected the key in a response body."""
        self.record_status(pool, key, 401, None, now)

    async def _tell_cool_down(self, label: str, message: bytes, seconds: float) -> None:
        state = self.state
        if seconds > 0:
            await state.set(f"cool-down:{label}", message, seconds)
        else:
            await state.delete(f"cool-down:{label}")
        await state.publish(COOL_DOWNS, message)

    def _receive_cool_down(self, message: bytes) -> None:
        try:
            label, until, refusals = _cool_down.decode(message)
        except DECODE_ERRORS:
            logger.debug("a cool-down that another process reported cannot be read")
            return
        for pool in self.services.settings.all_pools().values():
            for key in pool.keys:
                if key.label == label:
                    left = min(MAX_COOL_DOWN, until - time.time())
                    key.cooling_until = time.monotonic() + left if left > 0 else 0.0
                    key.refusals = refusals

    # Uploads.

    def remember_upload(self, upload_id: str, agent: str | None, token: TokenReference | None) -> None:
        """Record which agent started an upload, here and for the others."""
        self.services.uploads.remember(upload_id, agent, token, time.monotonic())
        if self.is_needed:
            value = msgspec.json.encode([agent, token_values(token)])
            self.write(self.state.add(upload_key(upload_id), value, MAX_UPLOAD_AGE))

    def must_ask_for_upload(self, ids: Iterable[str]) -> bool:
        """Return whether only another process may know one of these uploads."""
        return self.is_needed and any(not self.services.uploads.find(each, time.monotonic()) for each in ids)

    async def learn_uploads(self, ids: Iterable[str]) -> None:
        """Learn the agents of uploads that began in other processes. Raises Refusal if the state does not respond."""
        try:
            for upload_id in ids:
                if found := await self.state.get(upload_key(upload_id)):
                    agent, token = msgspec.json.decode(found)
                    reference = self._token(token)
                    if token is None or reference is not None:
                        self.services.uploads.remember(upload_id, agent, reference, time.monotonic())
        except SharedStateUnavailableError as error:
            raise UNREACHABLE from error

    def _token(self, values: Any) -> TokenReference | None:
        if isinstance(values, str):
            return bytes.fromhex(values)
        if values is None:
            return None
        name, kept = values
        kind = self.kinds.get(name)
        return kind.restore(kept, self.services.opened) if kind else None

    # Sessions.

    async def learn_session(self, session: str, pools: Iterable[KeyPool]) -> None:
        """Learn which key a session uses that other processes have seen. Without the shared state, choose here."""
        now = time.monotonic()
        for pool in pools:
            if pool.selection != "session-affinity" or pool.sessions.find(session, now) or not pool.keys:
                continue
            try:
                found = await self.state.get(session_key(session, pool))
            except SharedStateUnavailableError:
                return
            for key in pool.keys:
                if found is not None and key.label.encode() == found:
                    pool.sessions.keep(session, key, now)

    def remember_session(self, session: str, pool: KeyPool, key: ProviderKey) -> None:
        """Report to the others which key a session uses."""
        value, ttl = key.label.encode(), pool.sessions.ttl
        self.write(self.state.set(session_key(session, pool), value, ttl))

    # Failures.

    def refuse_if_unreachable(self) -> None:
        """Raise Refusal if a call may not be decided without the other processes."""
        if self.refuses:
            raise UNREACHABLE

    def write(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Write to the shared state in the background."""
        if len(self._tasks) >= MOST_TASKS:
            coroutine.close()
            return
        task = asyncio.create_task(in_background(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for the writes in progress."""
        await asyncio.gather(*self._tasks)


async def in_background(coroutine: Coroutine[Any, Any, object]) -> None:
    """Await a write. One that fails is lost: the state reports its failure itself."""
    try:
        await coroutine
    except SharedStateUnavailableError as error:
        logger.debug("%s", error)


def upload_key(upload_id: str) -> str:
    """Return the key of an upload, whose id grants access and is not stored."""
    return f"upload:{upload_digest(upload_id).hex()}"


def session_key(session: str, pool: KeyPool) -> str:
    """Return the key of a session at one pool."""
    name = f"{pool.keys[0].label.rpartition('/')[0]}\n{session}"
    return f"session:{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def token_values(token: TokenReference | None) -> Any:
    """Return the reference to a token as JSON values."""
    if token is None:
        return None
    return token.hex() if isinstance(token, bytes) else [token.kind, token.values()]
