"""`wirekey ca` shows, renews and exports the CA, but never its key."""

import json

import pytest
from click.testing import CliRunner
from cryptography import x509

from wirekey.cli.main import group
from wirekey.core.ca.authority import ensure, load
from wirekey.providers.hosts import provider_hosts


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ca(folder):
    return ensure(folder / "certs", list(provider_hosts()), roots=[])


def run(*arguments):
    return CliRunner().invoke(group, ["ca", *arguments])


@pytest.mark.parametrize("arguments", [["show"], ["show", "--json"], ["bundle"], ["bundle", "--root"]])
def test_without_a_ca_the_error_explains_how_to_create_one(folder, arguments):
    result = run(*arguments)
    assert result.exit_code == 1
    assert "there is no CA yet" in result.stderr
    assert "wirekey serve" in result.stderr
    assert not (folder / "certs").exists()


def test_show_prints_what_is_needed_to_trust_the_ca(ca):
    result = run("show")
    assert result.exit_code == 0
    for word in (ca.fingerprint, str(ca.root_file), "api.openai.com", f"{ca.expires:%Y-%m-%d}"):
        assert word in result.stdout


def test_show_as_json(ca):
    shown = json.loads(run("show", "--json").stdout)
    assert shown["sha256"] == ca.fingerprint
    assert shown["missing_hosts"] == []
    assert set(shown["hosts"]) == set(provider_hosts())


def test_an_added_region_is_reported_until_the_ca_is_renewed(ca, folder):
    (folder / "wirekey.yaml").write_text("providers: {bedrock: {regions: [us-east-1, eu-west-1]}}\n")
    result = run("show")
    assert result.exit_code == 1
    assert "does not cover bedrock-runtime.eu-west-1.amazonaws.com" in result.stderr
    assert "ca renew" in result.stderr
    assert run("renew").exit_code == 0
    assert run("show").exit_code == 0
    assert load(folder / "certs").fingerprint != ca.fingerprint


def test_renew_replaces_an_unusable_ca(ca, folder):
    ca.key_file.write_text("rubbish")
    assert run("show").exit_code == 1
    renewed = run("renew", "--json")
    assert renewed.exit_code == 0
    assert json.loads(renewed.stdout)["sha256"] == load(folder / "certs").fingerprint


def test_the_bundle_can_be_printed_or_written(ca, folder):
    assert run("bundle").stdout == ca.bundle_file.read_text()
    assert x509.load_pem_x509_certificates(run("bundle", "--root").stdout.encode()) == [ca.root]
    assert run("bundle", "--output", "out.pem").exit_code == 0
    assert (folder / "out.pem").read_text() == ca.bundle_file.read_text()


def test_an_output_that_cannot_be_written_is_named(ca, folder):
    result = run("bundle", "--output", "absent/out.pem")
    assert result.exit_code == 1
    assert "absent/out.pem" in result.stderr


def test_no_command_shows_the_key(ca):
    key = ca.key_file.read_text().splitlines()[1]
    for arguments in (["show"], ["show", "--json"], ["bundle"], ["renew"]):
        assert key not in run(*arguments).output
