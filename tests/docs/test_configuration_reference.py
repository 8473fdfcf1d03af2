"""The generated documentation matches the models."""

from pathlib import Path

import pytest

from wirekey.config import load
from wirekey.config.effective import effective_settings
from wirekey.config.reference import EXAMPLE_FILE, REFERENCE_FILE, example, reference

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "made"), [(EXAMPLE_FILE, example), (REFERENCE_FILE, reference)])
def test_the_generated_files_are_up_to_date(name, made):
    assert (CHECKOUT / name).read_text(encoding="utf-8") == made(), "run: python -m wirekey.config.reference"


def test_the_example_has_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wirekey.yaml").write_text(example())
    environ = {"OPENAI_API_KEY": "a", "AWS_BEARER_TOKEN_BEDROCK": "b"}
    written = load(None, environ)
    (tmp_path / "wirekey.yaml").unlink()
    absent = load(None, environ)
    assert [(row.key, row.value) for row in effective_settings(written)] == [
        (row.key, row.value) for row in effective_settings(absent)
    ]


def test_each_example_is_a_valid_value(tmp_path):
    for name in ("gateway.pem", "gateway-key.pem", "corp-ca.pem", "ca.pem"):
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "prices.yaml").write_text("models: []\n")
    lines = example().splitlines()
    kept = []
    for line in lines[2:]:
        bare = line.lstrip()
        if bare.startswith("# "):
            sample = line.replace("# ", "", 1)
            name = bare.removeprefix("# ").partition(":")[0]
            indent = len(line) - len(bare)
            if name.isidentifier() and kept[-1].startswith(f"{' ' * indent}{name}:"):
                kept.pop()  # the default, which the example stands for
            kept.append(sample)
        else:
            kept.append(line)
    (tmp_path / "wirekey.yaml").write_text("\n".join(kept))
    config = load(tmp_path / "wirekey.yaml", {})
    assert len(config.routes) == 4
    assert config.listen.gateway_tls
    assert config.providers.anthropic.upstream_url
    assert config.providers.bedrock.keys
