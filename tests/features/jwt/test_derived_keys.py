"""Signing keys that derive from the master secret of an installation."""

import secrets

import jwt
import pytest

from wirekey.core.identity.installation_keys import JWT, MasterSecret
from wirekey.features.jwt.config import JWTConfig
from wirekey.features.jwt.derived_keys import DerivedSigningKeys
from wirekey.features.jwt.tokens import signing_keys

OLD, NEW = (MasterSecret.parse(secrets.token_hex(32)) for _ in range(2))


def kid_of(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


def test_a_secret_is_not_shown_by_repr():
    text = repr(DerivedSigningKeys((OLD,), 60).__dict__)
    assert OLD.secret.reveal() not in text
    assert repr(OLD.key_for(JWT)) not in text


@pytest.mark.parametrize(
    ("masters", "accepted"),
    [((OLD,), True), ((NEW, OLD), True), ((NEW,), False)],
    ids=["the same secret", "a previous secret", "another secret"],
)
def test_a_replica_accepts_a_token_of_another_only_with_its_secret(tmp_path, masters, accepted):
    token = signing_keys(JWTConfig(), tmp_path / "first", (OLD,)).sign({"sub": "alice"})
    keys = signing_keys(JWTConfig(), tmp_path / "second", masters)
    assert (keys.find(kid_of(token), "EdDSA") is not None) is accepted
    assert list(tmp_path.iterdir()) == []


def test_only_the_new_secret_signs():
    both, latest, earlier = (DerivedSigningKeys(masters, 60) for masters in ((NEW, OLD), (NEW,), (OLD,)))
    token = both.sign({"sub": "alice"})
    assert latest.find(kid_of(token), "EdDSA")
    assert earlier.find(kid_of(token), "EdDSA") is None
    assert both.document() != latest.document()
