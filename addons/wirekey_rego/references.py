"""The parts of references in Rego, such as `input.agent["role"]`. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from wirekey_rego.syntax import chain

if TYPE_CHECKING:
    from wirekey_rego.names import Path
    from wirekey_rego.syntax import Node

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
RESERVED = frozenset(
    ["as", "default", "else", "false", "import", "package", "not", "null", "true", "with", "some", "in", "if"]
) | {"contains", "every", "set", "input", "data"}


def is_reference(node: Node) -> bool:
    """Return whether a node is a variable or a reference."""
    return not {"Var", "RefDot", "RefBrack"}.isdisjoint(node)


def constant(link: Node) -> str | None:
    """Return the literal name of a link of a reference, or None if it is computed."""
    if "field" in link:
        return str(link["field"][-1])
    text: Any = link["index"].get("String") or link["index"].get("RawString")
    return None if text is None else str(text["value"])


def written(reference: Node) -> list[str]:
    """Return the names of a function's reference. An empty one stands for a part that is not a name."""
    links = [*chain(reference)][::-1]
    first = links[0]["refr"] if links else reference
    root = str(first["Var"]["value"]) if "Var" in first else ""
    return [root, *(constant(link) or "" for link in links)]


def step(part: str) -> str:
    """Return one constant part of a reference."""
    if _PLAIN_NAME.fullmatch(part) and part not in RESERVED:
        return f".{part}"
    return f"[{json.dumps(part)}]"


def dotted(path: Path) -> str:
    """Return a path as Rego text."""
    return path[0] + "".join(map(step, path[1:]))
