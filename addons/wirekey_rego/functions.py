"""Refuses rules that OPA refuses, and names that cannot be resolved: kinds, functions, packages, recursion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey_rego.builtins import ARITIES, REACHING_OUT, REFUSED
from wirekey_rego.names import RefusedError
from wirekey_rego.references import dotted, written

if TYPE_CHECKING:
    from wirekey_rego.generated import GeneratedProgram
    from wirekey_rego.names import Names, Path
    from wirekey_rego.sourcemap import SourcePosition
    from wirekey_rego.syntax import Node


def check_kinds(program: GeneratedProgram) -> None:
    """Refuse rules whose definitions differ in kind, and rules with the path of a package."""
    for path, definitions in program.definitions.items():
        first = definitions[0]
        for other in definitions[1:]:
            if (other.kind, other.arity) != (first.kind, first.arity):
                message = f"the rule {path[-1]} is defined differently at {first.place.file}:{first.place.line}"
                program.refuse(other.place, f"{message}. Rename one of them")
        defaults = [definition for definition in definitions if definition.default]
        for other in defaults[1:]:
            program.refuse(other.place, f"the rule {path[-1]} has two defaults. Remove one of them")
        if any(package[: len(path)] == path for package in program.packages):
            program.refuse(first.place, f"the rule {path[-1]} has the name of a package. Rename one of them")
    for package in program.packages:
        if package[1].startswith("wirekey__"):
            place = next((d.place for p, ds in program.definitions.items() if p[:-1] == package for d in ds), None)
            if place:
                program.refuse(place, "packages whose names begin with wirekey__ are reserved")


def check_recursion(program: GeneratedProgram) -> None:
    """Refuse rules and functions that depend on themselves."""
    for path, definitions in program.definitions.items():
        waiting, seen = [*program.edges.get(path, ())], set()
        while waiting:
            if (other := waiting.pop()) not in seen:
                seen.add(other)
                waiting += program.edges.get(other, ())
        if path in seen:
            kind = "function" if definitions[0].kind == "function" else "rule"
            place = definitions[0].place
            program.refuse(place, f"the {kind} {path[-1]} calls itself. Rego has no recursion")


def rule_at(program: GeneratedProgram, path: Path) -> Path | None:
    """Return the path of the rule at or above a path, or None."""
    for length in range(2, len(path) + 1):
        if path[:length] in program.definitions:
            return path[:length]
    return None


def check_reference(
    program: GeneratedProgram, rule: Path, path: Path, place: SourcePosition, *, continues: bool
) -> None:
    """Note what a rule refers to. `continues`: a computed part follows. Raises RefusedError."""
    if path[0] != "data":
        return
    if found := rule_at(program, path):
        if program.definitions[found][0].kind == "function":
            raise RefusedError(place, f"{dotted(found)} is a function: call it")
        program.edges[rule].add(found)
    elif any(package[: len(path)] == path for package in program.packages) or path == ("data",):
        hint = "by a computed name. Write the names" if continues else "as a whole. Name its rules"
        raise RefusedError(place, f"{dotted(path)} is a package: it cannot be read {hint}")


def check_replaced(program: GeneratedProgram, path: Path, place: SourcePosition) -> None:
    """Check the target of a `with`. Raises RefusedError."""
    if path[0] == "input":
        return
    found = rule_at(program, path)
    if found and (found != path or program.definitions[found][0].kind == "function"):
        raise RefusedError(place, f"`with` can replace {dotted(found)} only as a whole, and no functions")
    if path == ("data",) or any(package[: len(path)] == path for package in program.packages):
        raise RefusedError(place, f"`with` cannot replace the package {dotted(path)}. Name its rules")


def called(program: GeneratedProgram, rule: Path, names: Names, node: Node, place: SourcePosition) -> str:
    """Return the name of a function: its path, or that of a builtin. Raises RefusedError."""
    parts = written(node["fcn"])
    path = names.path(parts[0])
    whole = (*path, *parts[1:]) if path else ()
    given = len(node["params"])
    name = ".".join(parts)
    if whole and whole in program.definitions and program.definitions[whole][0].kind == "function":
        program.edges[rule].add(whole)
        check_arity(name, program.definitions[whole][0].arity, given, place)
        return dotted(whole)
    if name in REACHING_OUT:
        raise RefusedError(place, f"{name} reaches outside the policy and is not available")
    if name in REFUSED and not whole:
        raise RefusedError(place, f"{name} may give a different result than in OPA. {REFUSED[name]}")
    if whole or name not in ARITIES:
        raise RefusedError(place, f"there is no function {name}")
    check_arity(name, ARITIES[name], given, place)
    return name


def check_arity(name: str, wanted: int, given: int, place: SourcePosition) -> None:
    """Check the number of arguments. Raises RefusedError."""
    if given != wanted:
        raise RefusedError(place, f"{name} takes {wanted} arguments, not {given}")
