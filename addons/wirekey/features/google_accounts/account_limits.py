"""The limits of Google accounts that processes share, so that one that Google has limited is not tried by each of them.

Each process knows the limits that it has met itself. A single process never asks the shared state.
"""

from __future__ import annotations

import hashlib
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.json_response import DECODE_ERRORS
from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.features.google_accounts.code_assist.limits import DAY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.calls.state_sharing import StateSharing
    from wirekey.core.credentials.pool import ProviderKey
    from wirekey.features.google_accounts.code_assist.backend import CodeAssist
    from wirekey.features.google_accounts.code_assist.pool import AccountPool

logger = logging.getLogger(__name__)

LIMITS = "account-limits"

_limit = msgspec.json.Decoder(tuple[str, str, float, int])


class AccountLimits:
    """Reports to other processes which accounts are limited for a model, and asks them. For the event loop's thread."""

    def __init__(self, sharing: StateSharing) -> None:
        self.sharing = sharing
        self._backends: Mapping[str, CodeAssist] | None = None

    def watch(self, backends: Mapping[str, CodeAssist]) -> None:
        """Report the limits of these backends' accounts, and follow what other processes report."""
        if self._backends is None:
            self.sharing.state.subscribe(LIMITS, self._receive)
        self._backends = backends
        for backend in backends.values():
            backend.shared_limits = self

    def report(self, pool: AccountPool, key: ProviderKey) -> None:
        """Report to the others until when an account is limited for the pool's model, or that it no longer is."""
        if not self.sharing.is_needed:
            return
        left = max(0.0, key.cooling_until - time.monotonic())
        message = msgspec.json.encode((key.label, pool.model, time.time() + left if left else 0.0, key.refusals))
        self.sharing.write(self._tell(limit_key(key.label, pool.model), message, left))

    async def _tell(self, name: str, message: bytes, seconds: float) -> None:
        state = self.sharing.state
        if seconds > 0:
            await state.set(name, message, seconds)
        else:
            await state.delete(name)
        await state.publish(LIMITS, message)

    async def learn(self, pool: AccountPool) -> None:
        """Ask once for each model which of its accounts are limited. Without the shared state, each is tried here."""
        if pool.is_learned:
            return
        pool.is_learned = True
        try:
            for key in pool.keys:
                if found := await self.sharing.state.get(limit_key(key.label, pool.model)):
                    self._receive(found)
        except SharedStateUnavailableError as error:
            logger.warning("The limits of accounts that other processes know are not known here: %s.", error)

    def _receive(self, message: bytes) -> None:
        try:
            label, model, until, refusals = _limit.decode(message)
        except DECODE_ERRORS:
            logger.debug("a limit of an account that another process reported cannot be read")
            return
        backend = (self._backends or {}).get(label.partition("/")[0])
        pool = backend.known_pool(model) if backend else None
        for key in pool.keys if pool else ():
            if key.label == label:
                left = min(DAY, until - time.time())
                key.cooling_until = time.monotonic() + left if left > 0 else 0.0
                key.refusals = refusals


def limit_key(label: str, model: str) -> str:
    """Return the name of an account's limit in the shared state. Clients choose the models, so that it is a hash."""
    return f"account-limit:{hashlib.sha256(f'{label} {model}'.encode('utf-8', 'surrogatepass')).hexdigest()}"
