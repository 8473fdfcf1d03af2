"""Programs that Wirekey starts do not get the URL of the server, which may have a password."""

from tests.support.configuration import loaded
from wirekey.cli.program_environment import configured_names, configured_secrets


def test_a_program_does_not_get_the_url_of_the_shared_state(tmp_path):
    url = "redis://wirekey:opensesame@redis.corp.example"
    config = loaded(tmp_path, "shared_state: env:STATE_URL", {"STATE_URL": url})
    assert "STATE_URL" in configured_names(config)
    assert url in configured_secrets(config)
