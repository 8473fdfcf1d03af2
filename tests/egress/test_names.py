import pytest

from wirekey.core.egress.names import authority_names, is_canonical


@pytest.mark.parametrize("host", ["api.openai.com", "bedrock-runtime.us-east-1.amazonaws.com", "a.b"])
def test_canonical_names(host):
    assert is_canonical(host)


@pytest.mark.parametrize(
    "host",
    [
        "api.openai.com.", "API.openai.com", "api%2eopenai.com", "аpi.openai.com", "api..openai.com", "localhost",
        "127.0.0.1", "0x7f.0.0.1", "2130706433", "[::1]", "::1", "a b.com", "-a.com", "a-.com", "a" * 64 + ".com", "",
        "api.openai.com\n",
    ],
)  # fmt: skip
def test_other_spellings_are_not_canonical(host):
    assert not is_canonical(host)


@pytest.mark.parametrize(
    ("value", "agrees"),
    [
        ("api.openai.com", True),
        ("api.openai.com:443", True),
        ("api.openai.com:8443", False),
        ("api.openai.com.", False),
        ("API.OPENAI.COM", False),
        ("evil.com", False),
        ("", False),
    ],
)
def test_authority(value, agrees):
    assert authority_names(value, "api.openai.com") is agrees
