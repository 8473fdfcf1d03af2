"""`wirekey version`, in a checkout. `tests/packaging` runs it from an installed wheel."""

import json
from importlib.metadata import version

from click.testing import CliRunner

from wirekey import __version__
from wirekey.cli.main import group


def run(*words):
    return CliRunner().invoke(group, ["version", *words])


def test_the_versions_are_shown():
    done = run()
    assert done.exit_code == 0
    assert f"wirekey   {__version__}\nmitmproxy {version('mitmproxy')}\n" in done.output


def test_a_checkout_has_nothing_to_compare_with():
    done = run("--verify")
    assert done.exit_code == 1
    assert "There is nothing to compare with: " in done.output


def test_json():
    found = json.loads(run("--verify", "--json").output)
    assert found["wirekey"] == __version__
    assert found["verified"] is False
    assert found["problems"][0].startswith("There is nothing to compare with: ")


def test_a_wheel_needs_verify(tmp_path):
    (tmp_path / "x.whl").write_text("x")
    done = run("--wheel", str(tmp_path / "x.whl"))
    assert (done.exit_code, "--wheel needs --verify." in done.output) == (2, True)
