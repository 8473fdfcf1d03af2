"""The settings `backends` and `google`: names with hyphens, and what is refused."""

import pytest

from tests.support.configuration import loaded, problems
from wirekey.config.effective import effective_settings
from wirekey.config.loading import references


def test_every_backend_is_off_by_default_and_where_only_its_section_stands(tmp_path):
    for text in ("", "backends: {gemini-oauth-plan: {}, gemini-oauth-auto: {}}"):
        backends = loaded(tmp_path, text).backends
        assert not any(getattr(backends, name).enabled for name in type(backends).model_fields)


def test_the_names_have_hyphens_as_in_the_file(tmp_path):
    config = loaded(tmp_path, "backends:\n  gemini-oauth-plan:\n    login_file: login.json\n")
    assert config.backends.gemini_oauth_plan.login_file == tmp_path / "login.json"
    shown = {setting.key: setting.source for setting in effective_settings(config)}
    assert shown["backends.gemini-oauth-plan.login_file"] == "file:3"


def test_a_variable_sets_a_setting(tmp_path):
    config = loaded(tmp_path, "", {"WIREKEY_BACKENDS__GEMINI_OAUTH_AUTO__REFRESH_BUFFER_SECONDS": "60"})
    assert config.backends.gemini_oauth_auto.refresh_buffer_seconds == 60


def test_a_setting_whose_name_has_hyphens_is_shown_with_its_variable(tmp_path):
    config = loaded(tmp_path, "", {"WIREKEY_BACKENDS__GEMINI_OAUTH_AUTO__ENABLED": "true"})
    sources = {setting.key: setting.source for setting in effective_settings(config)}
    assert sources["backends.gemini-oauth-auto.enabled"] == "env WIREKEY_BACKENDS__GEMINI_OAUTH_AUTO__ENABLED"


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("backends: {gemini-oauth-plna: {}}", "backends.gemini-oauth-plna", "Did you mean gemini-oauth-plan?"),
        ("backends: {gemini_oauth_plan: {}}", "backends.gemini_oauth_plan", "Did you mean gemini-oauth-plan?"),
        ("backends: {gemini-oauth-plan: {enable: true}}", "backends.gemini-oauth-plan.enable", "Did you mean enabled?"),
        ("backends: {gemini-oauth-plan: {enabled: 1}}", "backends.gemini-oauth-plan.enabled", "must be true or false"),
        ("google: {scopes: []}", "google.scopes", "is empty"),
        ("google: {scopes: ['a b']}", "google.scopes[0]", "must be the name of a scope"),
        ("google: {oauth_client: {id: '1234.apps'}}", "google.oauth_client.id", "must be a reference to a secret"),
        ('google: {user_agent: "a\\nb"}', "google.user_agent", "the value of a header"),
    ],
    ids=range(8),
)
def test_a_wrong_setting_is_reported_with_its_name(tmp_path, text, key, message):
    [problem] = problems(tmp_path, text)
    assert problem.key == key
    assert message in problem.message


def test_the_secrets_of_the_oauth_client_are_among_those_that_a_check_reads(tmp_path):
    config = loaded(tmp_path, "google: {oauth_client: {id: env:ID, secret: env:SECRET}}")
    assert {"google.oauth_client.id", "google.oauth_client.secret"} <= dict(references(config)).keys()


def test_scopes_are_names_below_googles_address_or_urls(tmp_path):
    config = loaded(tmp_path, "google: {scopes: [cloud-platform, 'https://example.com/scope']}")
    assert config.google.scope_urls == (
        "https://www.googleapis.com/auth/cloud-platform",
        "https://example.com/scope",
    )
