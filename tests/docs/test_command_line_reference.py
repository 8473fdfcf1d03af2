"""The page about the command line says what the commands say."""

from pathlib import Path

from wirekey.cli.main import COMMANDS
from wirekey.cli.reference import page

FILE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"


def test_the_page_is_as_made_from_the_commands():
    assert FILE.read_text(encoding="utf-8") == page(), f"run: python -m wirekey.cli.reference > {FILE.name}"


def test_the_page_has_every_command():
    assert all(f"## `wirekey {name}`" in page() for name in COMMANDS)
