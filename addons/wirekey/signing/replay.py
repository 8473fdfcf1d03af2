"""Signatures that were used already, so that a request seen by another is worth nothing to it.

A signature is good once. AWS's SDKs sign every attempt anew, but a signature tells the second only: botocore sends the
number of its attempt (`amz-sdk-invocation-id`, `amz-sdk-request`) unsigned, so two equal calls within one second, or a
quick retry, come with one signature; so do those of most signers written by hand. Where the number is signed, no two
are alike. Let through is therefore what a client may do, and no stranger gains by:

* Equal calls of one moment: from the same sender, within `grace` seconds of the first, unless their number is signed.
* A call that ended in what clients retry, or never got an answer: whoever called `admit` says so by `release`, and the
  signature is good once more. (Some clients sign once, and send that again after a while.)

What is remembered is bounded for each access key. Past that the oldest is forgotten, and with it every signature of
its age is refused that is not remembered: under load a signature is good for less long, and never good twice.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.signing.refusal import invalid

if TYPE_CHECKING:
    from wirekey.signing.verify import VerifiedSignature

CAPACITY = 16_384
"""Signatures of one access key: 54 calls a second, each good for five minutes."""
GRACE = 5.0
"""Seconds. Equal signatures are made within one, and need not arrive as soon as they are made."""
REPLAYED = "The same signature was used before. Sign each request anew, retries too."
FORGOTTEN = "Too many requests were signed since this one to tell it from a repeated one. Sign it anew."


@dataclass(slots=True)
class SignatureUse:
    sender: str
    first_seen: float
    released: bool = False


@dataclass(slots=True)
class AccessKeyUses:
    """The signatures of one access key."""

    by_signature: dict[str, SignatureUse] = field(default_factory=dict)
    ends: list[tuple[float, str]] = field(default_factory=list)
    """A heap: until when each is good."""
    forgotten_until: float = float("-inf")

    def drop_expired(self, now: float) -> None:
        while self.ends and self.ends[0][0] < now:
            del self.by_signature[heapq.heappop(self.ends)[1]]


class ReplayWindow:
    """The signatures that are still good and were used, by access key. For one thread, in one process."""

    def __init__(self, capacity: int = CAPACITY, grace: float = GRACE) -> None:
        self.capacity = capacity
        self.grace = grace
        self._uses: dict[str, AccessKeyUses] = {}

    def __len__(self) -> int:
        return sum(len(uses.by_signature) for uses in self._uses.values())

    def admit(self, verified: VerifiedSignature, sender: str, now: float) -> None:
        """Note the use of a signature that was verified just now. Raises SignatureRefused if it was used before.

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
        """Let the signature be used once more: its call was not answered, or with what a client retries."""
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
