"""What is replaced in mitmproxy: each name is documented, and each replacement is in use."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mitmproxy import version

from wirekey.core.wire import install
from wirekey.core.wire.speed import overrides as speed

ROOT = Path(__file__).parents[2]
TABLE = re.compile(r"^\| `((?:mitmproxy|asyncio)\.[\w.]+)` \| [^|]+ \| `([\w/.]+)` \|$", re.MULTILINE)
CHECK = """
from wirekey.core.wire import install
from wirekey.core.wire.speed import overrides as speed
install.install()
replaced = {(override.owner, override.name): override.replacement for override in OVERRIDES}
for (owner, name), replacement in replaced.items():
    assert getattr(owner, name) is replacement, name
"""


def documented() -> dict[str, str]:
    """Return the names in the table of docs/architecture.md, with their tests."""
    return dict(TABLE.findall((ROOT / "docs/architecture.md").read_text()))


def test_the_table_names_every_override_and_no_other():
    assert set(documented()) == {str(override) for override in (*install.OVERRIDES, *speed.OVERRIDES)}


def test_the_tests_in_the_table_exist():
    assert [test for test in documented().values() if not (ROOT / test).is_file()] == []


@pytest.mark.parametrize(
    ("overrides", "environ"),
    [("(*install.OVERRIDES, *speed.OVERRIDES)", {}), ("install.OVERRIDES", {install.PLAIN: "1"})],
    ids=["fast", "plain"],
)
def test_each_replacement_is_in_use(overrides, environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    subprocess.run([sys.executable, "-c", CHECK.replace("OVERRIDES", overrides, 1)], check=True)


def test_nothing_for_speed_is_in_use_with_the_switch(monkeypatch):
    monkeypatch.setenv(install.PLAIN, "1")
    code = (
        "from wirekey.core.wire import install; from wirekey.core.wire.speed import overrides; install.install(); "
        "assert not any(getattr(one.owner, one.name) is one.replacement for one in overrides.OVERRIDES)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_install_imports_what_is_for_speed():
    importing = [
        path.relative_to(ROOT / "addons").as_posix()
        for path in (ROOT / "addons" / "wirekey").rglob("*.py")
        if "wire.speed" in path.read_text() and path.parent.name != "speed"
    ]
    assert importing == ["wirekey/core/wire/install.py"]


def test_an_unknown_version_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr(version, "VERSION", "13.0.0")
    with pytest.raises(RuntimeError, match=r"does not support mitmproxy 13\.0\.0.*tests/wire passes with it"):
        install.install()
