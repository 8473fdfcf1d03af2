"""No two files of the wire layer import each other, directly or by others, for types included."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "addons" / "wirekey" / "wire"
PACKAGE = "wirekey.core.wire"


def module_of(path: Path) -> str:
    return ".".join((PACKAGE, *path.relative_to(FOLDER).with_suffix("").parts))


def imported_by(path: Path) -> set[str]:
    """Return what a file imports of the wire layer, and names in it, which are no modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def test_the_files_can_be_sorted_by_their_imports():
    files = {module_of(path): imported_by(path) for path in FOLDER.rglob("*.py")}
    list(TopologicalSorter({name: found & files.keys() for name, found in files.items()}).static_order())
