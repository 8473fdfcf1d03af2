"""wirekey version: which version this is, and whether its files are those of the release."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version as version_of
from pathlib import Path

import click

import wirekey
from wirekey.features.version.installed import Comparison, NotInstalledError, compared, installed_distribution


@click.command("version")
@click.option(
    "--verify", is_flag=True, help="Compare the installed files with the wheel's RECORD and bill of materials."
)
@click.option(
    "--wheel",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --verify: compare with the RECORD of this wheel, not with the installed one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(wheel: Path | None, *, verify: bool, as_json: bool) -> None:
    """Show the versions of Wirekey, mitmproxy and Python.

    --verify compares the hash of each installed file, finds files that were added, checks that compiled files belong to
    their source, and compares the versions of the installed packages with the bill of materials. The exit code is 1 if
    anything differs, or if Wirekey runs from a checkout.
    """
    if wheel and not verify:
        raise click.UsageError("--wheel needs --verify.")
    package = Path(wirekey.__file__).parent
    shown = {
        "wirekey": wirekey.__version__,
        "mitmproxy": version_of("mitmproxy"),
        "python": platform.python_version(),
        "folder": str(package),
    }
    found = verified(package, wheel) if verify else None
    if as_json:
        click.echo(json.dumps(shown | (as_json_value(found) if found else {}), indent=2))
    else:
        click.echo("".join(f"{name:<9} {value}\n" for name, value in shown.items()), nl=False)
        for line in sentences(found) if found else ():
            click.echo(line)
    sys.exit(1 if found and found.problems else 0)


def verified(package: Path, wheel: Path | None) -> Comparison:
    """Return what differs from the release, or that there is nothing to compare with."""
    try:
        return compared(installed_distribution(package), wheel)
    except NotInstalledError as error:
        return Comparison(0, problems=(f"There is nothing to compare with: {error}.",))
    except (OSError, ValueError, KeyError) as error:
        return Comparison(0, problems=(f"The comparison failed: {error}.",))


def sentences(found: Comparison) -> list[str]:
    """Return the lines that tell a person what was found."""
    if found.problems:
        return list(found.problems)
    return [f"{found.files} files and {found.packages} packages are those of the release."]


def as_json_value(found: Comparison) -> dict[str, object]:
    """Return a comparison as JSON values."""
    return {
        "verified": not found.problems,
        "files": found.files,
        "packages": found.packages,
        "problems": found.problems,
    }
