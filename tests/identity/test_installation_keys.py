"""Keys that derive from one master secret: fixed vectors, what is accepted as a secret, and rotation."""

import base64
import hmac
import secrets
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.audit.checkpoints import KEY_USE
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.agents_format import AgentRecords
from wirekey.core.identity.clients import is_secret_of
from wirekey.core.identity.import_file import ImportRefusedError, read_entries
from wirekey.core.identity.installation_keys import AWS_PAIRS, IMPORTED, JWT, REASONING_STATE, MasterSecret
from wirekey.core.identity.master_file import load_master
from wirekey.core.identity.stored_agents import MASTER_FILE
from wirekey.core.secret import Secret

COUNTING = MasterSecret.parse(bytes(range(32)).hex())
NOW = datetime(2026, 3, 4, tzinfo=UTC)

DERIVED = [
    (AWS_PAIRS, "4206de8123e8299497c7a53087e07d4187a61e276b4d42b9cb503edbff9e1a5f"),
    (IMPORTED, "f489705d473b3598062e5f799dd03fd680474e8f76362cf42c17d106a6253a4d"),
    (JWT, "762a32867f27cc53c33caa411b682576a1fe2a69b4130c4e0fb2101ab6ecc2ff"),
    (REASONING_STATE, "940347bdddf741f4ab2d5708b8a064c201522a3c291f3133fd8a4cfe6be33026"),
    (KEY_USE, "6ee82de341a503276094b6a3f722d0d045ff4e736090ea3b4c671351f5e2a7ea"),
]
"""Computed with openssl: openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:… -kdfopt info:… HKDF"""

WITHOUT_SALT = [
    # RFC 5869, A.3: without salt and info. A shorter output is the beginning of a longer one.
    ("0b" * 22, b"", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"),
]


def new_master() -> MasterSecret:
    return MasterSecret.parse(base64.b64encode(secrets.token_bytes(32)).decode())


OLD, NEW = new_master(), new_master()


def hkdf(material: bytes, info: bytes) -> bytes:
    """One block of HKDF-SHA-256, as RFC 5869 describes it."""
    return hmac.digest(hmac.digest(bytes(32), material, "sha256"), info + b"\x01", "sha256")


@pytest.mark.parametrize(("material", "info", "expected"), WITHOUT_SALT)
def test_keys_are_those_of_the_rfc(material, info, expected):
    assert MasterSecret(Secret(material)).key_for(info).hex() == expected


@pytest.mark.parametrize(("use", "expected"), DERIVED)
def test_each_use_has_a_key_that_stays_the_same_from_version_to_version(use, expected):
    assert COUNTING.key_for(use).hex() == expected
    assert hkdf(bytes(range(32)), use).hex() == expected


def test_no_two_uses_or_secrets_have_the_same_key():
    keys = {master.key_for(use) for use, _ in DERIVED for master in (COUNTING, OLD, NEW)}
    assert len(keys) == 3 * len(DERIVED)


@given(st.binary(min_size=32, max_size=32).filter(lambda data: len(set(data)) > 24))
def test_hex_and_both_alphabets_of_base64_are_one_secret(data):
    texts = [base64.b64encode(data), base64.urlsafe_b64encode(data), base64.b64encode(data).rstrip(b"=")]
    found = [MasterSecret.parse(text) for text in (data.hex(), data.hex().upper(), *(one.decode() for one in texts))]
    assert all(one == found[0] for one in found)


def test_every_random_secret_is_accepted():
    for _ in range(500):
        assert MasterSecret.parse(base64.b64encode(secrets.token_bytes(32)).decode()).secret
        assert MasterSecret.parse(secrets.token_hex(32)).secret


FEW = bytes.fromhex("3fa81c5e90d7624bc1f3860a2de974")
PLACES = (3, 11, 0, 7, 14, 5, 9, 2, 12, 6, 1, 10, 4, 13, 8, 0, 12, 3, 9, 14, 2, 7, 11, 5, 1, 13, 6, 10, 8, 4, 2, 0)
"""Where 32 bytes have these 15, in an order that does not repeat."""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("correct horse battery staple", "neither base64 nor hex"),
        (secrets.token_hex(31), "has 31 bytes"),
        (base64.b64encode(secrets.token_bytes(24)).decode(), "has 24 bytes"),
        ("00" * 32, "repeats itself"),
        ("0123456789abcdef" * 4, "repeats itself"),
        ("Z" * 44, "repeats itself"),
        ("changeme" * 6, "repeats itself"),
        ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR", "repeats itself"),
        (bytes(FEW[place] for place in PLACES).hex(), "repeats itself"),
    ],
    ids=range(9),
)
def test_a_weak_secret_is_refused_without_showing_it(text, words):
    with pytest.raises(ValueError, match=words) as refused:
        MasterSecret.parse(text)
    assert text not in str(refused.value)
    assert "openssl rand -base64 32" in str(refused.value)


def test_a_secret_is_not_shown_by_repr(tmp_path):
    agents = AgentStore(tmp_path / "agents.json", masters=(OLD,))
    text = repr(OLD) + repr(agents.__dict__)
    assert OLD.secret.reveal() not in text
    assert not any(repr(OLD.key_for(use)) in text for use, _ in DERIVED)


def replica(folder, *masters, like: AgentStore | None = None) -> AgentStore:
    """The agents of a replica, with the list of another one but none of its other files."""
    folder.mkdir(mode=0o700)
    if like:
        (folder / "agents.json").write_bytes(like.path.read_bytes())
        (folder / "agents.json").chmod(0o600)
    return AgentStore(folder / "agents.json", masters=masters)


def bring(agents: AgentStore, document: bytes):
    return agents.import_agents(read_entries(document, "users"))


TOKEN, CLIENT_SECRET = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
USERS = (
    f'[{{"agent": "billing", "token": "{TOKEN}", "client_id": "billing-1", "client_secret": "{CLIENT_SECRET}"}}]'
).encode()

REPLICAS = [
    ("the same secret", (OLD,), True),
    ("a previous secret", (NEW, OLD), True),
    ("another secret", (NEW,), False),
]


@pytest.mark.parametrize(("name", "masters", "accepted"), REPLICAS)
def test_a_replica_accepts_what_another_one_issued_only_with_its_secret(tmp_path, name, masters, accepted):
    first = replica(tmp_path / "first", OLD)
    first.add("alice")
    pair = first.pair("alice")
    bring(first, USERS)

    second = replica(tmp_path / "second", *masters, like=first)
    found = second.find_pair(pair.access_key)
    assert (found is not None and found[1] == pair) is accepted
    digest = second.imported_digest(TOKEN)
    assert (second.find_hash(digest) is not None) is second.is_imported(digest) is accepted
    assert is_secret_of(second.find_client("billing-1"), CLIENT_SECRET) is accepted
    assert (OLD.key_for(REASONING_STATE) in second.derived_keys(REASONING_STATE)) is accepted
    assert {file.name for file in (tmp_path / "second").iterdir()} <= {"agents.json"}


def test_only_the_new_secret_signs(tmp_path):
    agents = replica(tmp_path / "state", OLD)
    agents.add("alice")
    old = agents.pair("alice")
    rotated = AgentStore(agents.path, masters=(NEW, OLD))
    new = rotated.pair("alice")
    assert new.access_key != old.access_key
    assert AgentStore(agents.path, masters=(NEW,)).find_pair(new.access_key)


def test_a_rotated_pair_of_a_previous_secret_ends_when_it_was_to_end(tmp_path):
    agents = replica(tmp_path / "state", OLD)
    agents.add("alice")
    first = agents.pair("alice")
    agents.rotate_pair("alice", 60)
    now = datetime.now(UTC).timestamp()
    rotated = AgentStore(agents.path, masters=(NEW, OLD))
    assert rotated.find_pair(first.access_key, now)
    assert rotated.find_pair(first.access_key, now + 120) is None


def test_a_new_import_replaces_the_hashes_of_a_previous_secret(tmp_path):
    agents = replica(tmp_path / "state", OLD)
    bring(agents, USERS)
    assert bring(AgentStore(agents.path, masters=(NEW, OLD)), USERS).changed == ["billing"]
    latest = AgentStore(agents.path, masters=(NEW,))
    assert latest.find_hash(latest.imported_digest(TOKEN)).id == "billing"
    assert is_secret_of(latest.find_client("billing-1"), CLIENT_SECRET)
    assert bring(latest, USERS).unchanged == ["billing"]


def test_a_token_of_a_previous_secret_cannot_be_given_to_another_agent(tmp_path):
    agents = replica(tmp_path / "state", OLD)
    bring(agents, USERS)
    with pytest.raises(ImportRefusedError) as refused:
        bring(AgentStore(agents.path, masters=(NEW, OLD)), USERS.replace(b"billing", b"mallory"))
    assert any("already belongs to the agent billing" in problem for problem in refused.value.problems)


def test_what_the_file_of_the_state_folder_issued_is_accepted_as_long_as_the_file_exists(tmp_path):
    agents = replica(tmp_path / "state")
    agents.add("alice")
    pair = agents.pair("alice")
    bring(agents, USERS)
    shared = AgentStore(agents.path, masters=(NEW,))
    assert shared.find_pair(pair.access_key)
    assert shared.find_hash(shared.imported_digest(TOKEN))
    assert shared.pair("alice") != pair
    agents.path.with_name(MASTER_FILE).unlink()
    shared = AgentStore(agents.path, masters=(NEW,))
    assert shared.find_pair(pair.access_key) is None
    assert shared.find_hash(shared.imported_digest(TOKEN)) is None


def test_without_the_setting_keys_are_derived_as_they_always_were(tmp_path):
    master = load_master(tmp_path / MASTER_FILE)
    agents = AgentStore(tmp_path / "agents.json")
    for use, _ in DERIVED:
        assert agents.derived_key(use) == hmac.digest(master.reveal().encode(), use, "sha256")
    assert MasterSecret(master, is_stored=True).of_pairs == master
    assert AgentRecords().agents == agents.agents()
