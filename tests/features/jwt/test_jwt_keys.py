"""The signing keys are made once, readable by their owner only, rotated with an overlap, reloaded by each process."""

from __future__ import annotations

import json
import logging
import multiprocessing
import stat

import jwt
import pytest

from wirekey.features.jwt.signing_keys import SIGNS_FOR, SPARE, JwtSigningKeys, JwtSigningKeysError

NOW = 1_800_000_000.0
LIFETIME = 3600.0


class Clock:
    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "jwt-keys.json"


@pytest.fixture
def keys(path, clock):
    return JwtSigningKeys(path, LIFETIME, clock)


def kids(keys):
    return [key["kid"] for key in json.loads(keys.document())["keys"]]


def test_only_the_owner_reads_the_file_and_the_document_has_only_public_parts(keys, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
    private = json.loads(path.read_text())["keys"][0]["private"]
    [key] = json.loads(keys.document())["keys"]
    assert {name: key[name] for name in ("kty", "crv", "use", "alg")} == {
        "kty": "OKP",
        "crv": "Ed25519",
        "use": "sig",
        "alg": "EdDSA",
    }
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}
    assert private not in keys.document().decode()
    assert private not in repr(keys._ring)
    assert [entry.name for entry in path.parent.iterdir() if entry.name.endswith(".new")] == []


def test_the_key_id_is_the_thumbprint_of_RFC_8037():
    from wirekey.features.jwt.jwk import thumbprint

    example = {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(example) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_an_independent_library_verifies_tokens_by_the_published_document(keys):
    token = keys.sign({"sub": "alice"})
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt")
    [member] = json.loads(keys.document())["keys"]
    assert header["kid"] == member["kid"]
    assert jwt.decode(token, jwt.PyJWK(member), algorithms=["EdDSA"]) == {"sub": "alice"}


def test_a_new_key_signs_and_the_previous_key_verifies_until_its_last_token_expires(keys, clock):
    [first] = kids(keys)
    clock.now += SIGNS_FOR
    keys.refresh()
    both = kids(keys)
    assert both[0] == first
    assert len(both) == 2
    assert jwt.get_unverified_header(keys.sign({}))["kid"] == both[1]
    assert keys.find(first, "EdDSA")
    clock.now += LIFETIME + SPARE - 1
    assert keys.find(first, "EdDSA")
    clock.now += 1
    assert keys.find(first, "EdDSA") is None
    assert not keys.holds(first)
    assert kids(keys) == [both[1]]
    keys.rotate()
    assert first not in keys.path.read_text()
    assert len(json.loads(keys.path.read_text())["keys"]) == 2


def test_a_rotation_happens_once_for_all_processes(keys, path, clock):
    other = JwtSigningKeys(path, LIFETIME, clock)
    assert kids(other) == kids(keys)
    clock.now += SIGNS_FOR
    keys.refresh()
    other.refresh()
    assert kids(other) == kids(keys)
    assert len(kids(other)) == 2
    token = other.sign({})
    assert keys.find(jwt.get_unverified_header(token)["kid"], "EdDSA")


def make(path, queue):
    queue.put(kids(JwtSigningKeys(path, LIFETIME)))


def test_processes_that_start_together_make_one_key(path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=make, args=(path, queue)) for _ in range(6)]
    for process in processes:
        process.start()
    found = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert all(one == found[0] for one in found)
    assert len(found[0]) == 1


def test_a_key_is_found_only_by_its_id_and_algorithm(keys):
    [kid] = kids(keys)
    assert keys.find(kid, "EdDSA")
    assert keys.find(kid, "HS256") is None
    assert keys.find(None, "EdDSA") is None
    assert keys.find("x", "EdDSA") is None


def test_new_keys_are_made_if_the_file_is_missing(keys, path):
    [first] = kids(keys)
    path.unlink()
    keys.refresh()
    assert first not in kids(keys)
    assert len(kids(keys)) == 1
    assert path.exists()


BAD = [
    b"",
    b"{}x",
    b'{"version":2,"keys":[]}',
    b'{"version":1,"keys":[{"private":"00","created":1}]}',
    b'{"version":1,"keys":[],"more":1}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", BAD, ids=range(len(BAD)))
def test_a_damaged_key_file_is_reported_and_left_unchanged(path, clock, content):
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(JwtSigningKeysError, match=r"jwt-keys\.json .*delete it"):
        JwtSigningKeys(path, LIFETIME, clock)
    assert path.read_bytes() == content


def test_a_key_file_that_others_can_read_is_refused_with_a_fix(keys, path, clock):
    path.chmod(0o640)
    with pytest.raises(JwtSigningKeysError, match="chmod 600"):
        JwtSigningKeys(path, LIFETIME, clock)


def test_a_symbolic_link_in_its_place_is_not_followed(path, clock, tmp_path):
    path.parent.mkdir()
    (tmp_path / "elsewhere").write_text('{"version":1,"keys":[]}')
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JwtSigningKeysError, match="cannot be read"):
        JwtSigningKeys(path, LIFETIME, clock)


def test_a_file_damaged_later_leaves_the_keys_valid_and_is_reported_once(keys, path, caplog):
    before = kids(keys)
    path.write_text("damage")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            keys.refresh()
    assert kids(keys) == before
    assert keys.sign({})
    assert len(caplog.records) == 1
    assert "stay in use" in caplog.text


def test_a_key_that_another_process_makes_just_before_is_used_instead_of_a_second_one(keys, path, clock):
    """The other process renews the key after this one found it old, and before this one has the lock."""
    other = JwtSigningKeys(path, LIFETIME, clock)

    def late():
        if clock.now > NOW and kids(other) == [first]:
            other.rotate()
        return clock.now

    [first] = kids(keys)
    this = JwtSigningKeys(path, LIFETIME, late)
    clock.now += SIGNS_FOR
    this.refresh()
    assert len(kids(this)) == 2
    assert kids(this) == kids(other)
    assert len(json.loads(path.read_text())["keys"]) == 2


def test_a_key_file_that_cannot_be_written_or_looked_at_is_named(keys, path, clock, tmp_path):
    before = path.read_bytes()
    path.with_name(f"{path.name}.new").mkdir()
    with pytest.raises(JwtSigningKeysError, match=f"{path} cannot be written: Is a directory"):
        keys.rotate()
    assert path.read_bytes() == before
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "jwt-keys.json"
    with pytest.raises(JwtSigningKeysError, match=f"{below} cannot be read: Not a directory"):
        JwtSigningKeys(below, LIFETIME, clock)
