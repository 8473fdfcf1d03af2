"""The used signatures that several processes share, so that each is used once in all of them."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.core.signing.refusal import invalid
from wirekey.features.aws_signatures.refusals import refusal_of
from wirekey.features.aws_signatures.replay import GRACE, REPLAYED

if TYPE_CHECKING:
    from wirekey.core.calls.state_sharing import StateSharing
    from wirekey.features.aws_signatures.verify import VerifiedSignature


class SharedUses:
    """Notes the uses of signatures in the shared state, and asks it for those of other processes."""

    def __init__(self, sharing: StateSharing) -> None:
        self.sharing = sharing

    async def admit(self, verified: VerifiedSignature, sender: str) -> None:
        """Note the use of a signature, which this process has admitted. Raises Refusal if it was used before."""
        state, now = self.sharing.state, time.time()
        key, ttl = signature_key(verified), max(1.0, verified.good_until - now)
        try:
            found = await state.add(key, use_of(now, sender), ttl)
            if found is None:
                return
            first, released, previous = msgspec.json.decode(found, type=tuple[float, bool, str])
            if released and await state.replace(key, found, use_of(first, sender), ttl):
                return
        except SharedStateUnavailableError:
            self.sharing.refuse_if_unreachable()
            return
        if verified.numbered or previous != sender or now > first + GRACE:
            raise refusal_of(invalid(REPLAYED))

    def release(self, verified: VerifiedSignature) -> None:
        """Allow one more use of a signature."""
        if self.sharing.is_needed:
            self.sharing.write(self._release(verified))

    async def _release(self, verified: VerifiedSignature) -> None:
        state, key = self.sharing.state, signature_key(verified)
        if found := await state.get(key):
            first, _, sender = msgspec.json.decode(found, type=tuple[float, bool, str])
            ttl = max(1.0, verified.good_until - time.time())
            await state.replace(key, found, use_of(first, sender, released=True), ttl)


def use_of(first: float, sender: str, *, released: bool = False) -> bytes:
    """Return what is stored of the use of a signature."""
    return msgspec.json.encode([first, released, sender])


def signature_key(verified: VerifiedSignature) -> str:
    """Return the key of a signature."""
    return f"signature:{hashlib.sha256(f'{verified.access_key} {verified.signature}'.encode()).hexdigest()}"
