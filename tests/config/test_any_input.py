"""Any content of the files gives settings or a ConfigError that shows no secret."""

from io import StringIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tests.support.configuration import LITERAL_KEY
from wirekey.config import ConfigError, load
from wirekey.config.dotenv import parse_dotenv
from wirekey.config.feature_settings import whole_config
from wirekey.config.messages import all_settings

SETTINGS = [(group.split(".") if group else [], name) for group, name in all_settings(whole_config())]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.dates(),
    st.just(LITERAL_KEY),
    st.just({LITERAL_KEY: LITERAL_KEY}),
    st.just({1: 2}),
    st.just([LITERAL_KEY, None, {}]),
    st.just([[]]),
)
FEW = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)


NAMES_A_FILE = ("upstream_ca_file", "certificate", "key", "prices.file")
"""Settings whose value is shown if the file cannot be read."""


def what_is_wrong(folder: Path, content: bytes) -> str:
    """Return the reported problems; an empty text if the configuration can be used."""
    (folder / "wirekey.yaml").write_bytes(content)
    try:
        load(folder / "wirekey.yaml", {})
    except ConfigError as error:
        return str(error) or pytest.fail("a ConfigError without a problem")
    return ""


@FEW
@given(content=st.binary(max_size=60) | st.text(alphabet="a:-[]{}'\"&*!|>%@ \n\t#?,<=\0é", max_size=40).map(str.encode))
def test_any_bytes_are_read_or_reported(tmp_path, content):
    what_is_wrong(tmp_path, content)


@FEW
@given(place=st.sampled_from(SETTINGS), value=ODD)
def test_any_value_in_any_setting_is_accepted_or_reported_without_a_key(tmp_path, place, value):
    groups, name = place
    data = {name: value}
    for group in reversed(groups):
        data = {group: [data] if group == "routes" else data}
    text = StringIO()
    YAML(typ="safe", pure=True).dump(data, text)
    told = what_is_wrong(tmp_path, text.getvalue().encode())
    assert LITERAL_KEY not in told or name in NAMES_A_FILE or ".".join([*groups, name]) in NAMES_A_FILE


@FEW
@given(text=st.text(alphabet="A= '\"\\\n\r#export", max_size=40))
def test_any_dotenv_is_read_or_reported(text):
    entries, problems = parse_dotenv(text, Path(".env"))
    assert all("\n" not in name for name in entries)
    assert all(1 <= problem.line <= text.count("\n") + 1 for problem in problems)


def test_aliases_that_multiply_do_not_hang(tmp_path):
    lines = ["routes: &a0 [x, x]", *(f"r{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    assert "r1" in what_is_wrong(tmp_path, "\n".join(lines).encode())
