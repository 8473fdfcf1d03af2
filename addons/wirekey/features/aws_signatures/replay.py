"""Remembers used signatures, so that an intercepted request cannot be replayed.

Each signature is good for one use. AWS's SDKs sign every attempt again, but signatures only have a resolution of
seconds: botocore does not sign the number of its attempt (`amz-sdk-invocation-id`, `amz-sdk-request`), so two equal
calls within one second, or a quick retry, have the same signature. The same is true of most hand-written signers. If
the number is signed, all signatures differ. So these uses, which clients need and attackers cannot exploit, are
allowed:

* Equal calls at the same time: from the same sender, within `grace` seconds of the first, unless the number is signed.

* A call that failed in a way that clients retry, or got no response: the caller of `admit` calls `release`, and the
signature is good for one more use. (Some clients sign once and send the same request again after a while.)

The memory for each access key is bounded. Beyond that the oldest signature is forgotten, and every signature of its age
or older that is not remembered is refused. So under load a signature is good for a shorter time, but never twice.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.core.signing.refusal import invalid

if TYPE_CHECKING:
    from wirekey.features.aws_signatures.verify import VerifiedSignature

CAPACITY = 16_384
"""Signatures to remember for one access key: 54 calls a second, each good for five minutes."""
GRACE = 5.0
"""Seconds. Equal signatures are made within one second, but may arrive later."""
REPLAYED = "This signature was used before. Sign each request separately, including retries."
FORGOTTEN = "Too many requests were signed since this one to rule out a replay. Sign it again."


@dataclass(slots=True)
class SignatureUse:
    """The first use of a signature."""

    sender: str
    first_seen: float
    released: bool = False


@dataclass(slots=True)
class AccessKeyUses:
    """The signatures of one access key."""

    by_signature: dict[str, SignatureUse] = field(default_factory=dict)
    ends: list[tuple[float, str]] = field(default_factory=list)
    """A heap of expiry times and signatures."""
    forgotten_until: float = float("-inf")

    def drop_expired(self, now: float) -> None:
        """Forget signatures that have expired."""
        while self.ends and self.ends[0][0] < now:
            del self.by_signature[heapq.heappop(self.ends)[1]]


class ReplayWindow:
    """The used signatures that have not expired, by access key. For one thread, in one process."""

    def __init__(self, capacity: int = CAPACITY, grace: float = GRACE) -> None:
        self.capacity = capacity
        self.grace = grace
        self._uses: dict[str, AccessKeyUses] = {}

    def __len__(self) -> int:
        return sum(len(uses.by_signature) for uses in self._uses.values())

    def admit(self, verified: VerifiedSignature, sender: str, now: float) -> None:
        """Note the use of a signature that was just verified. Raises SignatureRefused if it was used before.

        `sender`: the client's address, without the port.
        """
        uses = self._uses.get(verified.access_key)
        if uses is None:
            self._drop_idle(now)
            uses = self._uses[verified.access_key] = AccessKeyUses()
        uses.drop_expired(now)
        use = uses.by_signature.get(verified.signature)
        if use is None:
            self._note(uses, verified, SignatureUse(sender, now))
        elif use.released:
            use.released = False
        elif verified.numbered or use.sender != sender or now > use.first_seen + self.grace:
            raise invalid(REPLAYED)

    def release(self, verified: VerifiedSignature) -> None:
        """Allow one more use of the signature: its call got no response, or one that clients retry."""
        uses = self._uses.get(verified.access_key)
        use = uses.by_signature.get(verified.signature) if uses else None
        if use:
            use.released = True

    def _note(self, uses: AccessKeyUses, verified: VerifiedSignature, use: SignatureUse) -> None:
        if verified.good_until <= uses.forgotten_until:
            raise invalid(FORGOTTEN)
        uses.by_signature[verified.signature] = use
        heapq.heappush(uses.ends, (verified.good_until, verified.signature))
        if len(uses.ends) > self.capacity:
            uses.forgotten_until, oldest = heapq.heappop(uses.ends)
            del uses.by_signature[oldest]

    def _drop_idle(self, now: float) -> None:
        for access_key, uses in [*self._uses.items()]:
            uses.drop_expired(now)
            if not uses.ends and uses.forgotten_until < now:
                del self._uses[access_key]
