"""The keys of Wirekey's JWTs when they derive from `secrets.master`, so that all replicas have the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wirekey.core.identity.installation_keys import JWT
from wirekey.features.jwt.signing_keys import SigningKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.core.identity.installation_keys import MasterSecret


class DerivedSigningKeys(SigningKeys):
    """The signing keys of master secrets. The first signs and all verify, without an end.

    They change only with the secrets: no key is made or kept here.
    """

    def __init__(self, masters: Sequence[MasterSecret], lifetime: float) -> None:
        super().__init__(lifetime)
        private = [Ed25519PrivateKey.from_private_bytes(master.key_for(JWT)) for master in masters]
        self.use([(key, None) for key in private], signer=0)
