"""The page about the command line matches the help of the commands."""

import subprocess
import sys
from pathlib import Path

from wirekey.cli.main import commands

FILE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"


def test_the_generated_page_is_up_to_date():
    # By a process of its own: click keeps the help option of the first context in which a command was used.
    made = subprocess.run([sys.executable, "-m", "wirekey.cli.reference"], capture_output=True, text=True, check=True)
    assert FILE.read_text(encoding="utf-8") == made.stdout, f"run: python -m wirekey.cli.reference > {FILE.name}"


def test_the_page_has_every_command():
    page = FILE.read_text(encoding="utf-8")
    assert all(f"## `wirekey {name}`" in page for name in commands())
