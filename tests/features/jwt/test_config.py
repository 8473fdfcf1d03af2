"""The settings `identity.jwt`."""

from tests.support.configuration import loaded


def test_a_variable_sets_a_setting(tmp_path):
    assert loaded(tmp_path, "", {"WIREKEY_IDENTITY__JWT__LIFETIME": "60"}).identity.jwt.lifetime == 60


def test_an_issuer_has_a_url_of_its_keys(tmp_path):
    found = loaded(tmp_path, "identity: {jwt: {issuer: me, jwks_url: https://id.example/jwks?x=1}}").identity.jwt
    assert (found.issuer, str(found.jwks_url)) == ("me", "https://id.example/jwks?x=1")
