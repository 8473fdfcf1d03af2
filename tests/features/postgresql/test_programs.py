"""Programs that Wirekey starts do not get the URL of the database, or its password."""

import pytest

from tests.support.configuration import loaded
from wirekey.cli.program_environment import configured_names, configured_secrets

URL = "postgresql://wirekey:opensesame@db.corp.example/wirekey"
MASTER = "secrets: {master: env:MASTER}\n"


@pytest.mark.parametrize("settings", ["audit: {store: env:STORE_URL}", MASTER + "agents: {store: env:STORE_URL}"])
def test_a_program_does_not_get_the_url_or_the_password(tmp_path, settings):
    config = loaded(tmp_path, settings, {"STORE_URL": URL})
    assert {"STORE_URL", "PGPASSWORD"} <= configured_names(config)
    assert URL in configured_secrets(config)


@pytest.mark.parametrize(
    "settings", ["audit: {store: postgresql://db/wirekey}", MASTER + "agents: {store: postgresql://db/wirekey}"]
)
def test_a_program_does_not_get_the_password_for_a_url_without_one(tmp_path, settings):
    assert "PGPASSWORD" in configured_names(loaded(tmp_path, settings))


@pytest.mark.parametrize("settings", ["", "audit: {store: env:STORE_URL}"])
def test_without_a_database_a_program_gets_its_own_password(tmp_path, settings):
    assert "PGPASSWORD" not in configured_names(loaded(tmp_path, settings, {"STORE_URL": "sqlite:///audit.db"}))
