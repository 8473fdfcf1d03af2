"""Finds names, calls, fields and loops in a policy's syntax tree (JSON from regorus). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

type Node = dict[str, Any]

LOOPS = frozenset(["SomeIn", "SomeVars", "Every", "ArrayCompr", "SetCompr", "ObjectCompr"])
LEAVES = frozenset(["span", "fcn", "eidx"])
"""Parts of the tree without nodes of interest."""
LINEAR_BUILTINS = frozenset(
    [
        *("startswith", "endswith", "contains", "lower", "upper", "count", "sprintf", "concat", "split", "trim"),
        *("trim_left", "trim_prefix", "trim_right", "trim_space", "trim_suffix", "replace", "indexof", "substring"),
        *("object.get", "object.keys", "to_number", "format_int", "min", "max", "sum", "abs", "round", "ceil", "floor"),
        *("is_null", "is_string", "is_number", "is_boolean", "is_array", "is_object", "is_set", "type_name"),
        *("time.parse_rfc3339_ns", "time.clock", "time.date", "time.weekday", "time.now_ns", "net.cidr_contains"),
        *("strings.any_prefix_match", "strings.any_suffix_match", "array.concat", "array.slice", "print"),
    ]
)
"""Builtins whose time is at most linear in the size of their arguments."""
PATTERN_BUILTINS = frozenset(["regex.match", "glob.match"])
"""Builtins that are linear, too, if the pattern is a literal: then it is compiled once."""


@dataclass(frozen=True, slots=True)
class RuleSyntax:
    """One definition of a rule or function."""

    module: str
    package: str
    name: str
    line: int
    is_function: bool


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in a module that refers to something: `input.agent.role` is ("input", "agent", "role")."""

    module: str
    line: int
    column: int
    path: tuple[str, ...]
    literal_pattern: bool = False
    """Of a call: whether its first argument is a literal string."""


@dataclass(slots=True)
class Syntax:
    """All modules of a policy: rules, calls, references to input, and loops."""

    rules: list[RuleSyntax] = field(default_factory=list)
    calls: list[tuple[RuleSyntax, Mention]] = field(default_factory=list)
    inputs: list[Mention] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)
    """The first module of each package."""
    mentioned: set[tuple[str, ...]] = field(default_factory=set)
    """Paths below `data` that a module refers to."""
    loops: list[tuple[str, ...]] = field(default_factory=list)
    """The path that each iteration reads. It has no parts if it is not known."""

    def rule_names(self, package: str) -> set[str]:
        """Return the names of a package's rules."""
        return {rule.name for rule in self.rules if rule.package == package}

    def unused_packages(self, query: str) -> dict[str, str]:
        """Return packages that are neither the query nor mentioned by a module, and the first module of each."""
        named = {".".join(path[: length + 1]) for path in self.mentioned for length in range(len(path))}
        return {
            package: module
            for package, module in sorted(self.packages.items())
            if package != query and package not in named
        }

    def runs_in_linear_time(self, short_array: tuple[str, ...] | None = None) -> bool:
        """Return whether the policy's time is at most proportional to its own length and the input's.

        `short_array`: an array that never has more than a few items, such as ("input", "models"). One loop over it
        costs no more than a longer policy; of two, one could stand within the other.
        """
        functions = {(rule.package, rule.name) for rule in self.rules if rule.is_function}
        return self.loops in ([], [short_array]) and all(
            is_own_function(rule, call, functions)
            or ".".join(call.path) in LINEAR_BUILTINS
            or (".".join(call.path) in PATTERN_BUILTINS and call.literal_pattern)
            for rule, call in self.calls
        )


def read_syntax(modules: list[Node]) -> Syntax:
    """Read the trees of all modules."""
    found = Syntax()
    for module in modules:
        read_module(module, found)
    return found


def read_module(module: Node, found: Syntax) -> None:
    """Add what one module contains."""
    name, tree = module["source"]["file"], module["ast"]
    package = ".".join(("data", *path_of(tree["package"]["refr"])))
    found.packages.setdefault(package, name)
    aliases = {}
    for imported in tree["imports"]:
        path = path_of(imported["refr"])
        aliases[alias_of(imported, module["source"]["contents"]) or path[-1]] = path
        if path[0] == "input" and len(path) > 1:
            found.inputs.append(make_mention(name, imported["refr"], path))
        if path[0] == "data":
            found.mentioned.add(path)
    for entry in tree["rules"]:
        ((kind, node),) = entry.items()
        rule = make_rule(name, package, kind, node)
        found.rules.append(rule)
        for inner_kind, inner in nodes(node):
            note_node(inner_kind, inner, rule, aliases, found)


def alias_of(imported: Node, source: str) -> str | None:
    """Return the name behind `as`, of which the tree has only the position."""
    place = imported.get("as")
    return source.encode()[place["start"] : place["end"]].decode() if place else None


def make_rule(module: str, package: str, kind: str, node: Node) -> RuleSyntax:
    """Return a definition for its node."""
    is_function = bool(node.get("args"))
    head = node
    if kind == "Spec":
        ((head_kind, head),) = node["head"].items()
        is_function = head_kind == "Func"
    return RuleSyntax(module, package, path_of(head["refr"])[0], node["span"]["line"], is_function)


def note_node(kind: str, node: Node, rule: RuleSyntax, aliases: dict[str, tuple[str, ...]], found: Syntax) -> None:
    """Add what one node of a rule refers to."""
    if kind in LOOPS:
        found.loops.append(resolve(path_of(node.get("collection") or node.get("domain") or {}), aliases))
    elif kind == "RefBrack" and "Var" in node["index"]:
        found.loops.append(())
    if kind == "Call":
        path = resolve(path_of(node["fcn"]), aliases)
        first = node["params"][0] if node["params"] else {}
        found.calls.append(
            (rule, make_mention(rule.module, node["fcn"], path, "String" in first or "RawString" in first))
        )
    elif kind in ("RefDot", "RefBrack"):
        path = resolve(path_of({kind: node}), aliases)
        if path[0] == "input" and len(path) > 1:
            found.inputs.append(make_mention(rule.module, {kind: node}, path))
        elif path[0] == "data":
            found.mentioned.add(path)


def nodes(tree: Any) -> list[tuple[str, Node]]:
    """Return each node with its kind. A chain of references counts as one node; of a call, its arguments count."""
    found: list[tuple[str, Node]] = []
    find_nodes(tree, found)
    return found


def find_nodes(tree: Any, found: list[tuple[str, Node]]) -> None:
    """Add the nodes of a tree to `found`."""
    if isinstance(tree, list):
        for item in tree:
            if isinstance(item, dict | list):
                find_nodes(item, found)
        return
    if tree.get("with_mods"):
        found.append(("SomeIn", tree))  # `with` evaluates rules again, so it counts as a loop
    for key, value in tree.items():
        if key in LEAVES or not isinstance(value, dict | list):
            continue
        if key[0].isupper() and isinstance(value, dict):
            found.append((key, value))
        if key == "refr" and isinstance(value, dict) and ("RefDot" in value or "RefBrack" in value):
            links = [*chain(value)]
            find_nodes([part["index"] for part in links if "index" in part], found)
            found += [("RefBrack", part) for part in links if "index" in part]
            find_nodes(links[-1]["refr"], found)
        else:
            find_nodes(value, found)


def chain(reference: Node) -> Iterator[Node]:
    """Yield the links of a chain of references, last one first."""
    while links := {"RefDot", "RefBrack"} & reference.keys():
        link = reference[links.pop()]
        yield link
        reference = link["refr"]


def path_of(reference: Node) -> tuple[str, ...]:
    """Return the literal names at the start of a reference: `input.a[x].b` is ("input", "a")."""
    if "Var" in reference:
        return (str(reference["Var"]["value"]),)
    names: list[str] = []
    for link in chain(reference):
        index = link.get("index", {})
        written = index.get("String") or index.get("RawString")
        if "field" in link:
            names.append(str(link["field"][-1]))
        elif written:
            names.append(str(written["value"]))
        else:
            names.clear()
        reference = link["refr"]
    root = str(reference["Var"]["value"]) if "Var" in reference else "?"
    return (root, *reversed(names))


def resolve(path: tuple[str, ...], aliases: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return a path with its import replaced."""
    return (*aliases[path[0]], *path[1:]) if path[0] in aliases else path


def make_mention(module: str, reference: Node, path: tuple[str, ...], literal_pattern: bool = False) -> Mention:
    """Return a mention at the position of a reference."""
    first: Node = next(iter(reference.values()))
    for link in chain(reference):
        first = next(iter(link["refr"].values()))
    return Mention(module, first["span"]["line"], first["span"]["col"], path, literal_pattern)


def place_of(node: Node) -> tuple[int, int]:
    """Return line and column of an expression's start."""
    first: Node = next(iter(node.values()))
    if "lhs" in first:
        return place_of(first["lhs"])
    for link in chain(node):
        first = next(iter(link["refr"].values()))
    return int(first["span"]["line"]), int(first["span"]["col"])


def is_own_function(rule: RuleSyntax, call: Mention, functions: set[tuple[str, str]]) -> bool:
    """Return whether a call in a rule calls one of the policy's own functions, by package and name."""
    place = (rule.package, call.path[0]) if len(call.path) == 1 else (".".join(call.path[:-1]), call.path[-1])
    return place in functions
