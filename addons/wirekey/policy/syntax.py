"""What a policy says, seen in its syntax tree (as regorus gives it, in JSON): names, calls, fields, loops. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

type Node = dict[str, Any]

LOOPS = frozenset(["SomeIn", "SomeVars", "Every", "ArrayCompr", "SetCompr", "ObjectCompr"])
LEAVES = frozenset(["span", "fcn", "eidx"])
"""Parts of the tree without nodes of interest."""
SHORT = ("input", "other_models")
"""An array that never has more than a few items: one loop over it is no more than a longer policy."""
STRAIGHT_BUILTINS = frozenset(
    [
        *("startswith", "endswith", "contains", "lower", "upper", "count", "sprintf", "concat", "split", "trim"),
        *("trim_left", "trim_prefix", "trim_right", "trim_space", "trim_suffix", "replace", "indexof", "substring"),
        *("object.get", "object.keys", "to_number", "format_int", "min", "max", "sum", "abs", "round", "ceil", "floor"),
        *("is_null", "is_string", "is_number", "is_boolean", "is_array", "is_object", "is_set", "type_name"),
        *("time.parse_rfc3339_ns", "time.clock", "time.date", "time.weekday", "time.now_ns", "net.cidr_contains"),
        *("strings.any_prefix_match", "strings.any_suffix_match", "array.concat", "array.slice", "print"),
    ]
)
"""Builtins whose time is at most linear in what they are given."""
PATTERN_BUILTINS = frozenset(["regex.match", "glob.match"])
"""The same, where the pattern is a text in the policy itself: then it is compiled once."""


@dataclass(frozen=True, slots=True)
class RuleSyntax:
    """One definition of a rule or function. Offsets are bytes of the module's UTF-8."""

    module: str
    package: str
    name: str
    line: int
    start: int
    is_function: bool
    is_default: bool
    node: Node = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in a module that names something: `input.agent.role` is ("input", "agent", "role")."""

    module: str
    line: int
    column: int
    path: tuple[str, ...]
    literal_pattern: bool = False
    """Of a call: whether its first argument is a text."""


@dataclass(slots=True)
class Syntax:
    """All modules of a policy: their rules, calls, mentions of input, and whether anything in them iterates."""

    rules: list[RuleSyntax] = field(default_factory=list)
    calls: list[tuple[RuleSyntax, Mention]] = field(default_factory=list)
    inputs: list[Mention] = field(default_factory=list)
    packages: set[str] = field(default_factory=set)
    mentioned: set[tuple[str, ...]] = field(default_factory=set)
    """Paths below `data` that some module names."""
    loops: bool = False
    """Whether anything iterates, other than over SHORT."""
    short_loops: int = 0

    def rule_names(self, package: str) -> set[str]:
        return {rule.name for rule in self.rules if rule.package == package}


def read_syntax(modules: list[Node]) -> Syntax:
    """Read the tree of all modules."""
    found = Syntax()
    for module in modules:
        read_module(module, found)
    return found


def read_module(module: Node, found: Syntax) -> None:
    name, tree = module["source"]["file"], module["ast"]
    package = ".".join(("data", *path_of(tree["package"]["refr"])))
    found.packages.add(package)
    aliases = {}
    for imported in tree["imports"]:
        path = path_of(imported["refr"])
        aliases[alias_of(imported, module["source"]["contents"]) or path[-1]] = path
        if path[0] == "input" and len(path) > 1:
            found.inputs.append(mention_of(name, imported["refr"], path))
        if path[0] == "data":
            found.mentioned.add(path)
    for entry in tree["rules"]:
        ((kind, node),) = entry.items()
        rule = rule_of(name, package, kind, node)
        found.rules.append(rule)
        for inner_kind, inner in nodes(node):
            note(inner_kind, inner, rule, aliases, found)


def alias_of(imported: Node, source: str) -> str | None:
    """Return the name behind `as`, of which the tree has the place only."""
    place = imported.get("as")
    return source.encode()[place["start"] : place["end"]].decode() if place else None


def rule_of(module: str, package: str, kind: str, node: Node) -> RuleSyntax:
    is_function = bool(node.get("args"))
    head = node
    if kind == "Spec":
        ((head_kind, head),) = node["head"].items()
        is_function = head_kind == "Func"
    span = node["span"]
    return RuleSyntax(
        module,
        package,
        name=path_of(head["refr"])[0],
        line=span["line"],
        start=span["start"],
        is_function=is_function,
        is_default=kind == "Default",
        node=node,
    )


def note(kind: str, node: Node, rule: RuleSyntax, aliases: dict[str, tuple[str, ...]], found: Syntax) -> None:
    """Note what one node of a rule mentions."""
    if kind in LOOPS and resolved(path_of(node.get("collection") or node.get("domain") or {}), aliases) == SHORT:
        found.short_loops += 1
    elif kind in LOOPS or (kind == "RefBrack" and "Var" in node["index"]):
        found.loops = True
    if kind == "Call":
        path = resolved(path_of(node["fcn"]), aliases)
        first = node["params"][0] if node["params"] else {}
        found.calls.append(
            (rule, mention_of(rule.module, node["fcn"], path, "String" in first or "RawString" in first))
        )
    elif kind in ("RefDot", "RefBrack"):
        path = resolved(path_of({kind: node}), aliases)
        if path[0] == "input" and len(path) > 1:
            found.inputs.append(mention_of(rule.module, {kind: node}, path))
        elif path[0] == "data":
            found.mentioned.add(path)


def nodes(tree: Any) -> list[tuple[str, Node]]:
    """Return each node with its kind. Of a chain of references only the whole; of a call, its arguments."""
    found: list[tuple[str, Node]] = []
    find_nodes(tree, found)
    return found


def find_nodes(tree: Any, found: list[tuple[str, Node]]) -> None:
    if isinstance(tree, list):
        for item in tree:
            if isinstance(item, dict | list):
                find_nodes(item, found)
        return
    if tree.get("with_mods"):
        found.append(("SomeIn", tree))  # `with` makes rules be evaluated anew: no longer one straight line
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
    """Return the links of a chain of references, the last first."""
    while links := {"RefDot", "RefBrack"} & reference.keys():
        link = reference[links.pop()]
        yield link
        reference = link["refr"]


def path_of(reference: Node) -> tuple[str, ...]:
    """Return the names of a reference as far as they are written there: `input.a[x].b` is ("input", "a")."""
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


def resolved(path: tuple[str, ...], aliases: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return (*aliases[path[0]], *path[1:]) if path[0] in aliases else path


def mention_of(module: str, reference: Node, path: tuple[str, ...], literal_pattern: bool = False) -> Mention:
    first: Node = next(iter(reference.values()))
    for link in chain(reference):
        first = next(iter(link["refr"].values()))
    return Mention(module, first["span"]["line"], first["span"]["col"], path, literal_pattern)


def place_of(node: Node) -> tuple[int, int]:
    """Return line and column where an expression begins."""
    first: Node = next(iter(node.values()))
    if "lhs" in first:
        return place_of(first["lhs"])
    for link in chain(node):
        first = next(iter(link["refr"].values()))
    return int(first["span"]["line"]), int(first["span"]["col"])


def function_of(rule: RuleSyntax, call: Mention, functions: set[tuple[str, str]]) -> tuple[str, str] | None:
    place = (rule.package, call.path[0]) if len(call.path) == 1 else (".".join(call.path[:-1]), call.path[-1])
    return place if place in functions else None


def is_straight(syntax: Syntax) -> bool:
    """Return whether the policy takes time at most in proportion to its own length and the input's."""
    functions = {(rule.package, rule.name) for rule in syntax.rules if rule.is_function}
    # Two loops could stand one within the other.
    return (
        not syntax.loops
        and syntax.short_loops <= 1
        and all(
            function_of(rule, call, functions)
            or ".".join(call.path) in STRAIGHT_BUILTINS
            or (".".join(call.path) in PATTERN_BUILTINS and call.literal_pattern)
            for rule, call in syntax.calls
        )
    )


def unasked(syntax: Syntax, query: str) -> list[str]:
    """Name packages called …authz that are neither asked nor named by any other: they decide nothing."""
    named = {".".join(path[: length + 1]) for path in syntax.mentioned for length in range(len(path))}
    return sorted(
        package
        for package in syntax.packages
        if package.endswith("authz") and package != query and package not in named
    )
