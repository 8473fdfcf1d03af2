"""Write the software bill of materials of a wheel: what `requirements.lock` lists, as CycloneDX.

Hatchling runs this when it builds a wheel, and puts the file below `.dist-info/sboms/` (PEP 770). The same source gives
the same bytes: no time, no path, and no number that is drawn.
"""

# ruff: noqa: INP001 -- hatchling reads this file by its path

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LOCK = "requirements.lock"
NAME = "wirekey.cdx.json"
HASH = "wirekey:locked-sha256"
"""A property of a component, for each of its files. CycloneDX's own `hashes` has one file only."""

_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", re.IGNORECASE)
_SHA256 = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class SbomHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the bill of materials to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file to the folder that hatchling ignores, and name it in `build_data`."""
        root = Path(self.root)
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        written = root / "build" / NAME
        written.parent.mkdir(exist_ok=True)
        written.write_text(bill_of_materials(project, (root / LOCK).read_text()))
        build_data["sbom_files"].append(str(written.relative_to(root)))


def bill_of_materials(project: dict[str, Any], lock: str) -> str:
    """Return the text of a bill of materials, by CycloneDX 1.6 (ECMA-424).

    `project` is the table of pyproject.toml, `lock` the text of a lock file with hashes.
    """
    components = [component(name, version, hashes) for name, version, hashes in locked(lock)]
    root = {
        "type": "application",
        "licenses": [{"license": {"id": project["license"]}}],
        "description": project["description"],
    }
    root |= identity(project["name"], project["version"])
    needed = {normalized(re.split(r"[^A-Za-z0-9._-]", each)[0]) for each in project["dependencies"]}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": [
            {"ref": root["bom-ref"], "dependsOn": [each["bom-ref"] for each in components if each["name"] in needed]}
        ],
    }
    return json.dumps(bill, indent=1) + "\n"


def component(name: str, version: str, hashes: list[str]) -> dict[str, Any]:
    """Return a package of the lock as a component."""
    return {
        "type": "library",
        **identity(name, version),
        "properties": [{"name": HASH, "value": value} for value in hashes],
    }


def identity(name: str, version: str) -> dict[str, str]:
    """Return the members that identify a package of Python."""
    purl = f"pkg:pypi/{normalized(name)}@{version}"
    return {"bom-ref": purl, "name": normalized(name), "version": version, "purl": purl}


def normalized(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: str) -> list[tuple[str, str, list[str]]]:
    """Return name, version and SHA-256 hashes of each package, by name."""
    entries = lock.replace("\\\n", " ").splitlines()
    return sorted(
        (match[1], match[2], sorted(_SHA256.findall(entry))) for entry in entries if (match := _PIN.match(entry))
    )
