"""The settings `identity.jwt`."""

import pytest

from tests.support.configuration import loaded, problems
from wirekey.features.jwt.config import ClaimPath, parse_claim_path


def test_a_variable_sets_a_setting(tmp_path):
    assert loaded(tmp_path, "", {"WIREKEY_IDENTITY__JWT__LIFETIME": "60"}).identity.jwt.lifetime == 60


def test_an_issuer_has_a_url_of_its_keys(tmp_path):
    found = loaded(tmp_path, "identity: {jwt: {issuer: me, jwks_url: https://id.example/jwks?x=1}}").identity.jwt
    assert (found.issuer, str(found.jwks_url)) == ("me", "https://id.example/jwks?x=1")


PATHS = [("sub", ("sub",)), (["realm", "role"], ("realm", "role")), (["realm.role"], ("realm.role",))]


@pytest.mark.parametrize(("value", "names"), PATHS)
def test_the_path_of_a_claim_is_its_name_or_a_list_and_is_written_as_it_was_read(value, names):
    path = parse_claim_path(value)
    assert path == ClaimPath(names)
    assert parse_claim_path(path) is path
    assert parse_claim_path(path.in_yaml()) == path


def test_the_path_of_one_name_is_written_as_a_text():
    assert ClaimPath(("sub",)).in_yaml() == "sub"
    assert ClaimPath(("realm", "role")).in_yaml() == ["realm", "role"]


KEYS = "jwks_url: https://id.example/"
PREFIX = "must be at most 64 visible ASCII characters without spaces"
PATH = "must be the name of a claim, or a list of names that is its path"
SOURCE = "needs either jwks_url or key"
WRONG = [
    (f"issuers: [{{issuer: x, {KEYS}, claims: {{role: ''}}}}]", "issuers[0].claims.role", PATH),
    (f"issuers: [{{issuer: x, {KEYS}, claims: {{role: []}}}}]", "issuers[0].claims.role", PATH),
    (f"issuers: [{{issuer: x, {KEYS}, claims: {{role: [a, 1]}}}}]", "issuers[0].claims.role", PATH),
    (f"issuers: [{{issuer: x, {KEYS}, claims: {{role: 1}}}}]", "issuers[0].claims.role", PATH),
    (f"issuers: [{{issuer: x, {KEYS}, prefix: 'a b'}}]", "issuers[0].prefix", PREFIX),
    (f"issuers: [{{issuer: x, {KEYS}, prefix: é}}]", "issuers[0].prefix", PREFIX),
    (f"issuers: [{{issuer: x, {KEYS}, prefix: {'a' * 65}}}]", "issuers[0].prefix", PREFIX),
    ("issuers: [{issuer: x}]", "issuers[0]", SOURCE),
    (f"issuers: [{{issuer: x, {KEYS}, key: /key.pem}}]", "issuers[0]", SOURCE),
    (f"issuers: [{{issuer: wirekey, {KEYS}}}]", "", "the issuer wirekey occurs twice"),
    (f"issuers: [{{issuer: x, {KEYS}}}, {{issuer: x, {KEYS}}}]", "", "the issuer x occurs twice"),
]


@pytest.mark.parametrize(("text", "place", "words"), WRONG)
def test_an_invalid_setting_is_named_with_what_it_must_be(tmp_path, text, place, words):
    [problem] = problems(tmp_path, f"identity: {{jwt: {{{text}}}}}")
    assert ".".join(filter(None, ["identity.jwt", place])) in str(problem)
    assert words in str(problem)
