"""Settings that this version does not implement are reported if they are set."""

import pytest

from tests.config.reading import loaded
from wirekey.config import unimplemented


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", []),
        ("routes: []", []),
        ("routes: [{match: a, model: b}]", []),
        ("listen: {forward: 127.0.0.1:1, gateway: 127.0.0.1:8000, console: null}", []),
        ("listen: {gateway: 127.0.0.1:8001}", []),
        ("audit: {store: postgresql://db/x}", ["audit.store"]),
        ("audit: {store: sqlite:///other.db}", ["audit.store"]),
        ("audit: {store: sqlite:///state/audit.db}", []),
        ("model_override: a", []),
        ("model_override: null", []),
        ("providers: {openai: {key_source: inject}}", []),
        ("providers: {openai: {key_source: client}}", []),
        ("providers: {bedrock: {key_source: passthrough}}", []),
        ("providers: {bedrock: {aws: {bearer: env:A}}}", []),
        ("providers: {bedrock: {aws: {profile: x}}}", []),
    ],
)
def test_a_setting_that_is_not_implemented_is_reported_if_it_is_not_the_default(tmp_path, text, keys):
    assert [problem.key for problem in unimplemented(loaded(tmp_path, text))] == keys
