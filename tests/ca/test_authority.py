"""The CA is made once, kept to its owner, renewed on demand, and never used when something is wrong with it."""

import contextlib
import errno
import multiprocessing
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs12

from wirekey.core.ca import authority
from wirekey.core.ca.authority import CAError, ensure, load, renew
from wirekey.core.ca.certificates import issue
from wirekey.core.ca.roots import certificates_in, root_files

HOSTS = ["api.openai.com", "api.anthropic.com"]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "certs"


@pytest.fixture
def ca(folder):
    return ensure(folder, HOSTS, roots=[])


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_a_ca_whose_key_only_its_owner_reads(ca, folder):
    assert mode(folder) == 0o700
    assert mode(ca.key_file) == 0o600
    assert {file.name for file in folder.iterdir()} == {
        ".lock", "mitmproxy-ca.pem", "mitmproxy-ca-cert.pem", "mitmproxy-ca-cert.cer", "mitmproxy-ca-cert.p12",
        "bundle.pem", "truststore.p12",
    }  # fmt: skip


def test_a_second_start_finds_the_same_ca(ca, folder):
    assert ensure(folder, HOSTS, roots=[]) == ca


def test_the_ca_lasts_one_year(ca):
    assert 364 <= (ca.expires - datetime.now(UTC)).days <= 365


def test_the_only_key_kept_is_that_of_the_constrained_ca(ca, folder):
    held = [file for file in folder.iterdir() if b"PRIVATE KEY" in file.read_bytes()]
    assert held == [ca.key_file]
    key = load_pem_private_key(ca.key_file.read_bytes(), None)
    assert key.public_key() == ca.working.public_key() != ca.root.public_key()


def test_what_clients_trust_is_the_root(ca):
    assert x509.load_pem_x509_certificates(ca.root_file.read_bytes()) == [ca.root]
    assert ca.fingerprint.count(":") == 31


@pytest.mark.parametrize(
    ("asked", "missing"),
    [
        (HOSTS, []),
        (["eu.api.openai.com", "API.OpenAI.com"], []),
        (["openai.com"], ["openai.com"]),
        (["evilapi.openai.com"], ["evilapi.openai.com"]),
        ([*HOSTS, "bedrock-runtime.eu-west-1.amazonaws.com"], ["bedrock-runtime.eu-west-1.amazonaws.com"]),
    ],
)
def test_a_ca_knows_which_hosts_it_does_not_cover(ca, asked, missing):
    assert ca.covers(asked) == missing


def test_a_new_ca_covers_the_gateway_and_does_not_count_it_among_the_hosts(ca):
    assert ca.covers_gateway
    assert sorted(ca.hosts) == sorted(HOSTS)


def test_a_ca_of_a_previous_version_stays_in_use_and_does_not_cover_the_gateway(folder, monkeypatch):
    monkeypatch.setattr("wirekey.core.ca.certificates.GATEWAY", [])
    previous = ensure(folder, HOSTS, roots=[])
    monkeypatch.undo()
    assert ensure(folder, HOSTS, roots=[]) == previous
    assert not previous.covers_gateway
    assert renew(folder, HOSTS, roots=[]).covers_gateway


def test_renewing_covers_more_hosts_and_keeps_the_previous_ca(ca, folder):
    previous = ca.key_file.read_bytes()
    renewed = renew(folder, [*HOSTS, "example.org"], roots=[])
    assert renewed.covers(["example.org"]) == []
    assert renewed.fingerprint != ca.fingerprint
    assert (folder / "mitmproxy-ca.pem.previous").read_bytes() == previous
    assert mode(folder / "mitmproxy-ca.pem.previous") == 0o600
    assert load(folder) == renewed
    assert x509.load_pem_x509_certificates(renewed.bundle_file.read_bytes()) == [renewed.root]


def test_a_ca_that_cannot_be_read_can_be_renewed(ca, folder):
    ca.key_file.write_text("rubbish")
    assert renew(folder, HOSTS, roots=[]).covers(HOSTS) == []


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_the_bundle_has_the_public_roots_each_once_and_ours_first(folder, tmp_path):
    public = Path(certifi.where())
    copy = tmp_path / "copy.pem"
    copy.write_bytes(public.read_bytes() + b"\n-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n")
    ca = ensure(folder, HOSTS, roots=[public, copy])
    first, *others = certificates_in(ca.bundle_file.read_bytes())
    assert first == ca.root.public_bytes(Encoding.DER)
    assert sorted(others) == sorted(set(certificates_in(public.read_bytes())))
    trusted = pkcs12.load_pkcs12(ca.truststore_file.read_bytes(), b"changeit").additional_certs
    assert trusted[0].friendly_name == b"wirekey"
    assert len({entry.friendly_name for entry in trusted}) == len(trusted) == len(others) + 1


def test_a_previous_root_does_not_stay_in_the_bundle(ca, folder, tmp_path):
    (tmp_path / "old.pem").write_bytes(ca.bundle_file.read_bytes())
    renewed = renew(folder, HOSTS, roots=[tmp_path / "old.pem", ca.bundle_file])
    assert x509.load_pem_x509_certificates(renewed.bundle_file.read_bytes()) == [renewed.root]


def test_roots_that_an_administrator_named_are_taken_in(tmp_path):
    (tmp_path / "company.pem").write_text("")
    found = root_files({"SSL_CERT_FILE": str(tmp_path / "company.pem"), "AWS_CA_BUNDLE": str(tmp_path / "absent")})
    assert Path(certifi.where()) in found
    assert tmp_path / "company.pem" in found
    assert tmp_path / "absent" not in found


@pytest.mark.parametrize("name", ["mitmproxy-ca-cert.pem", "mitmproxy-ca-cert.cer", "bundle.pem", "truststore.p12"])
def test_a_file_that_follows_from_the_ca_is_written_again_when_it_is_lost(ca, folder, name):
    before = (folder / name).read_bytes()
    (folder / name).unlink()
    ensure(folder, HOSTS, roots=[])
    after = (folder / name).read_bytes()
    assert after == before or name.endswith(".p12")


def test_a_root_file_of_another_ca_is_replaced(ca, folder):
    ca.root_file.write_text("another")
    ensure(folder, HOSTS, roots=[])
    assert x509.load_pem_x509_certificates(ca.root_file.read_bytes()) == [ca.root]


def spoil_mode(ca):
    ca.key_file.chmod(0o644)


def spoil_key(ca):
    ca.key_file.write_bytes(ca.key_file.read_bytes().replace(b"PRIVATE KEY", b"PUBLIC NOTE"))


def swap_key(ca):
    other = ensure(ca.folder.parent / "other", HOSTS, roots=[])
    mine, foreign = ca.key_file.read_bytes(), other.key_file.read_bytes()
    end = b"-----END PRIVATE KEY-----\n"
    ca.key_file.write_bytes(foreign.partition(end)[0] + end + mine.partition(end)[2])


def swap_root(ca):
    other = ensure(ca.folder.parent / "other", HOSTS, roots=[])
    mine = ca.key_file.read_bytes().replace(ca.root_file.read_bytes(), other.root_file.read_bytes())
    ca.key_file.write_bytes(mine)


def drop_root(ca):
    ca.key_file.write_bytes(ca.key_file.read_bytes().replace(ca.root_file.read_bytes(), b""))


def make_folder(ca):
    ca.key_file.unlink()
    ca.key_file.mkdir(mode=0o700)


def open_folder(ca):
    ca.folder.chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "problem", "fix"),
    [
        (spoil_mode, "other users may use the CA's key", "chmod 600 "),
        (spoil_key, "no readable private key", "wirekey ca renew"),
        (swap_key, "do not belong together", "wirekey ca renew"),
        (swap_root, "did not sign", "wirekey ca renew"),
        (drop_root, "must have a working CA and its root", "wirekey ca renew"),
        (make_folder, "is a directory", "readable"),
        (open_folder, "other users may write", "chmod 700 "),
    ],
)
def test_a_ca_with_something_wrong_is_not_used(ca, folder, spoil, problem, fix):
    spoil(ca)
    with pytest.raises(CAError) as caught:
        ensure(folder, HOSTS, roots=[])
    assert problem in str(caught.value)
    assert fix in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def test_mitmproxys_own_unconstrained_ca_is_not_used(folder):
    from mitmproxy.certs import CertStore

    folder.mkdir()
    CertStore.create_store(folder, "mitmproxy", 2048)
    with pytest.raises(CAError, match="ca renew"):
        ensure(folder, HOSTS, roots=[])


def test_an_expired_ca_says_how_to_renew_it(ca, folder):
    with pytest.raises(CAError, match=r"expired on .*ca renew"):
        load(folder, ca.expires)


def test_a_clock_before_the_cas_validity_is_reported(ca, folder):
    with pytest.raises(CAError, match="clock"):
        load(folder, ca.begins - timedelta(seconds=1))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CAError, match=r"file.*`certs`"):
        ensure(tmp_path / "file" / "certs", HOSTS, roots=[])


@pytest.mark.parametrize("hosts", [[], ["köln.example"]])
def test_no_ca_is_created_without_a_valid_host(folder, hosts):
    with pytest.raises(CAError, match="no CA can be created"):
        ensure(folder, hosts, roots=[])


def test_reading_a_ca_that_is_not_there_makes_none(folder):
    with pytest.raises(CAError, match="no CA yet"):
        load(folder)
    assert not folder.exists()


def fingerprint_of(folder):
    return ensure(folder, HOSTS, roots=[]).fingerprint


def test_several_first_starts_at_once_make_one_ca(folder):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(fingerprint_of, [folder] * 8))) == 1


def test_a_start_that_was_killed_is_completed_by_the_next_one(folder, monkeypatch):
    monkeypatch.setattr(authority, "_write_public", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(CAError, match="no space left"):
        ensure(folder, HOSTS, roots=[])
    monkeypatch.undo()
    assert ensure(folder, HOSTS, roots=[]).root_file.exists()


def test_a_certificate_is_issued_for_an_hour(ca):
    now = datetime.now(UTC)
    leaf, working = x509.load_pem_x509_certificates(issue(ca.key_file.read_bytes(), "api.openai.com", now))
    leaf.verify_directly_issued_by(working)
    assert working == ca.working


@pytest.mark.parametrize("survived", range(10))
def test_whenever_a_renewal_is_killed_the_next_start_finds_a_complete_ca(ca, folder, monkeypatch, survived):
    write, done = authority._write, []

    def dying(*arguments):
        if len(done) == survived:
            raise KeyboardInterrupt
        done.append(write(*arguments))

    monkeypatch.setattr(authority, "_write", dying)
    with contextlib.suppress(KeyboardInterrupt):
        renew(folder, HOSTS, roots=[])
    monkeypatch.undo()
    found = ensure(folder, HOSTS, roots=[])
    assert x509.load_pem_x509_certificates(found.root_file.read_bytes()) == [found.root]
    assert x509.load_pem_x509_certificates(found.bundle_file.read_bytes()) == [found.root]
    trusted = pkcs12.load_pkcs12(found.truststore_file.read_bytes(), b"changeit").additional_certs
    assert [entry.certificate for entry in trusted] == [found.root]
    assert not list(folder.glob(".*.pem.*"))


@pytest.fixture
def read_only(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    return lambda: monkeypatch.setattr("fcntl.flock", refuse)


def test_a_folder_that_can_only_be_read_is_taken_as_it_was_prepared(ca, folder, read_only):
    read_only()
    assert ensure(folder, HOSTS, roots=[]) == ca
    with pytest.raises(CAError, match="read-only"):
        renew(folder, HOSTS, roots=[])


@pytest.mark.parametrize("name", ["mitmproxy-ca-cert.pem", "bundle.pem", "truststore.p12"])
def test_a_folder_that_can_only_be_read_must_be_whole(ca, folder, read_only, name):
    (folder / name).unlink()
    read_only()
    with pytest.raises(CAError, match=f"{name}.*start Wirekey once with"):
        ensure(folder, HOSTS, roots=[])


def test_a_folder_that_can_only_be_read_and_has_no_ca_is_refused(folder, read_only):
    read_only()
    with pytest.raises(CAError, match="read-only"):
        ensure(folder, HOSTS, roots=[])


# A CA that several machines share.


@pytest.fixture
def given(tmp_path):
    """A file with the CA of another folder."""
    file = tmp_path / "secrets/ca.pem"
    file.parent.mkdir()
    file.write_bytes(ensure(tmp_path / "origin", HOSTS, roots=[]).key_file.read_bytes())
    file.chmod(0o440)  # as container platforms mount secrets
    return file


def test_machines_with_the_same_given_ca_have_the_same_root(given, tmp_path):
    first, second = (ensure(tmp_path / name, HOSTS, roots=[], given=given) for name in ("first", "second"))
    assert first.root == second.root == load(tmp_path / "origin").root
    assert first.root_file.read_bytes() == second.root_file.read_bytes()
    assert mode(first.key_file) == 0o600
    assert ensure(first.folder, HOSTS, roots=[], given=given) == first


def test_a_given_ca_replaces_that_of_the_folder_which_is_kept(ca, folder, given):
    mine = ca.key_file.read_bytes()
    used = ensure(folder, HOSTS, roots=[], given=given)
    assert used.fingerprint != ca.fingerprint
    assert x509.load_pem_x509_certificates(used.bundle_file.read_bytes()) == [used.root]
    assert (folder / "mitmproxy-ca.pem.previous").read_bytes() == mine


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file"),
        (b"", "no readable private key"),
        (b"-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", "no readable private key"),
    ],
    ids=["missing", "empty", "damaged"],
)
def test_a_given_ca_that_cannot_be_used_changes_nothing(ca, folder, given, content, problem):
    before = ca.key_file.read_bytes()
    given.unlink()
    if content is not None:
        given.write_bytes(content)
    with pytest.raises(CAError, match=problem) as caught:
        ensure(folder, HOSTS, roots=[], given=given)
    assert str(given) in str(caught.value)
    assert "secret" not in str(caught.value).replace(str(given), "")
    assert ca.key_file.read_bytes() == before
