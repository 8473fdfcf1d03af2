"""The CA of `certs`: a folder, or a folder and the file of a CA that several machines share."""

import pytest
from click.testing import CliRunner

from tests.support.configuration import loaded, problems
from wirekey.cli.main import group
from wirekey.config.effective import effective_settings
from wirekey.config.file_access import file_access
from wirekey.core.ca import authority

HOSTS = ["api.openai.com"]


@pytest.fixture
def ca(tmp_path):
    """A file with a CA, and the folder that it comes from."""
    return authority.ensure(tmp_path / "origin", HOSTS, roots=[]).key_file


def test_a_single_path_is_the_folder(tmp_path):
    for config in (loaded(tmp_path, "certs: ca"), loaded(tmp_path, "", {"WIREKEY_CERTS": "ca"})):
        assert (config.certs.folder, config.certs.key_file) == (tmp_path / "ca", None)


def test_the_key_is_a_file_and_relative_paths_start_at_the_folder_of_the_configuration(tmp_path, ca):
    config = loaded(tmp_path, f"certs: {{folder: ca, key: file:{ca.relative_to(tmp_path)}}}")
    assert config.certs.key_file == ca
    shown = {setting.key: setting.value for setting in effective_settings(config)}
    assert shown["certs.key"] == f"file:{ca}"
    config = loaded(tmp_path, "certs: {folder: ca}", {"WIREKEY_CERTS__KEY": f"file:{ca}"})
    assert config.certs.key_file == ca


@pytest.mark.parametrize("value", ["/run/secrets/ca.pem", "'file:'", "env:CA", "[a]", '"file:a\\nBEGIN PRIVATE"'])
def test_anything_but_a_file_is_refused_without_being_shown(tmp_path, value):
    (found,) = problems(tmp_path, f"certs: {{key: {value}}}")
    assert "must be file:PATH" in str(found)
    assert "PRIVATE" not in str(found)


def test_a_file_that_is_missing_or_has_no_key_is_a_problem_of_the_setting(tmp_path, ca):
    (missing,) = problems(tmp_path, "certs: {key: 'file:absent.pem'}")
    assert "certs.key" in str(missing)
    assert "absent.pem cannot be read" in str(missing)
    (keyless,) = problems(tmp_path, f"certs: {{key: 'file:{ca.with_name('mitmproxy-ca-cert.pem')}'}}")
    assert "contains no private key" in str(keyless)


def test_a_key_that_other_users_can_change_is_refused(tmp_path, ca):
    ca.chmod(0o666)
    config = loaded(tmp_path, f"certs: {{key: 'file:{ca}'}}")
    assert "other users can change this file" in str(file_access(config).refused[0])


def test_a_shared_ca_is_not_renewed_in_one_place(tmp_path, ca):
    (tmp_path / "wirekey.yaml").write_text(f"certs: {{folder: ca, key: 'file:{ca}'}}")
    refused = CliRunner().invoke(group, ["ca", "renew", "--config", str(tmp_path / "wirekey.yaml")])
    assert refused.exit_code == 1
    assert "is not renewed here" in str(refused.exception) + refused.output
    assert not (tmp_path / "ca").exists()
    made = CliRunner(env={"WIREKEY_CERTS": "another"}).invoke(
        group, ["ca", "renew", "--config", str(tmp_path / "wirekey.yaml")]
    )
    assert made.exit_code == 0, made.output
    assert (tmp_path / "another" / "mitmproxy-ca.pem").exists()
