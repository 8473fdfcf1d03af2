"""The setting `prices`, and the file beside it."""

import os

import pytest

from wirekey.config import ConfigError, load


@pytest.fixture
def read(tmp_path):
    def loaded(text, prices=None):
        (tmp_path / "wirekey.yaml").write_text(text)
        if prices is not None:
            (tmp_path / "prices.yaml").write_text(prices)
        return load(tmp_path / "wirekey.yaml", {})

    loaded.folder = tmp_path
    return loaded


def test_entries_of_the_file_come_after_those_of_the_configuration(read):
    config = read(
        "prices:\n  file: prices.yaml\n  models:\n    - {match: a, input: 1, output: 2, from: 2026-12-01}\n",
        "models:\n  - {match: [b, c], per_request: 0.5}\n",
    )
    assert [(place, entry.match) for place, entry in config.own_prices] == [
        ("prices.models[0]", ("a",)),
        ("prices.yaml: models[0]", ("b", "c")),
    ]
    assert config.own_prices[0][1].begins == "2026-12-01"


def test_a_change_of_the_file_is_a_change_of_the_configuration(read):
    config = read("prices: {file: prices.yaml}\n", "models: []\n")
    before = config.fingerprint()
    (read.folder / "prices.yaml").write_text("models: [{match: a, input: 1}]\n")
    os.utime(read.folder / "prices.yaml", (1, 1))
    assert config.fingerprint() != before


@pytest.mark.parametrize(
    ("entry", "line", "message"),
    [
        ("{match: a}", 3, "prices.models[0]: has no price. Add input and output, or per_request"),
        ("{match: a, output: 1}", 3, "prices.models[0]: has output and no input. Add input; 0 means free"),
        ("{input: 1}", 3, "prices.models[0].match: is missing. Add it"),
        ("{match: a, input: '1'}", 3, "prices.models[0].input: must be a number of US dollars"),
        ("{match: a, input: -1}", 3, "prices.models[0].input: must be at least 0"),
        ("{match: a, input: 1, from: tomorrow}", 3, "prices.models[0].from: must be a day, such as 2026-12-01"),
        ("{match: a, input: 1, factors: {fast: x}}", 3, "prices.models[0].factors: must be names of tiers"),
        ("{match: a, inputs: 1}", 3, "prices.models[0].inputs: is not a setting. Did you mean input?"),
    ],
)
def test_a_wrong_entry_is_named_with_its_line(read, entry, line, message):
    with pytest.raises(ConfigError) as raised:
        read(f"prices:\n  models:\n    - {entry}\n")
    assert any(f"wirekey.yaml:{line}: {message}" in str(problem) for problem in raised.value.problems), raised.value


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ("models:\n  - match: a\n    outputs: 1\n", "prices.yaml:3: models[0].outputs: is not a setting"),
        ("models:\n  - {match: a}\n", "prices.yaml:2: models[0]: has no price"),
        ("models: [\n", "prices.yaml:2: this is not valid YAML"),
        ("- {match: a}\n", "prices.yaml:1: must contain settings"),
        (None, "prices.file: "),
    ],
)
def test_a_wrong_file_is_named_with_its_line(read, prices, message):
    with pytest.raises(ConfigError) as raised:
        read("prices: {file: prices.yaml}\n", prices)
    assert message in str(raised.value)
