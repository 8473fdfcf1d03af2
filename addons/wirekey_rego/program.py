"""Combines the modules of a policy into one program: one module per package, with whole paths for names. Pure.

The engine loses a file's imports when it reads another file of the same package, and does not rewrite negations. So it
gets neither imports nor negations that OPA's compiler would rewrite.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey_rego import functions
from wirekey_rego.bodies import Bodies
from wirekey_rego.builtins import WRAPPERS, WRAPPING
from wirekey_rego.generated import Definition, GeneratedProgram
from wirekey_rego.names import Names, RefusedError
from wirekey_rego.references import dotted
from wirekey_rego.sourcemap import SourcePosition
from wirekey_rego.syntax import alias_of, chain, nodes, path_of, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wirekey_rego.names import Path
    from wirekey_rego.syntax import Node

DECISION_PACKAGE = "wirekey__decision"
"""The package to evaluate. Its rules collect the values of others, so that undefined ones do no harm."""
CONSTANTS = "wirekey__constants"
KEYWORD_IMPORTS = (("rego", "v1"), ("future", "keywords"))
_WITH = re.compile(r"\bwith\b")
KEYWORDS = ((), ("contains",), ("every",), ("if",), ("in",))


def generate_program(modules: list[Node], rules: Sequence[Path]) -> GeneratedProgram:
    """Return the program of all modules that evaluates these rules. `problems` has what is refused."""
    return generate(modules, GeneratedProgram(entry_points=[*rules]), DecisionPackage.decisions)


def generate_tests(modules: list[Node]) -> GeneratedProgram:
    """Return the program of all modules that evaluates the policy's own tests. `problems` has what is refused."""
    return generate(modules, GeneratedProgram(), DecisionPackage.tests)


def generate(
    modules: list[Node], program: GeneratedProgram, entry: Callable[[DecisionPackage], list[str]]
) -> GeneratedProgram:
    """Fill the program with all modules and with the rules of the decision package. Return it."""
    aliases = {}
    for module in modules:
        collect_rules(module, program)
        aliases[module["source"]["file"]] = imports_of(module, program)
    functions.check_kinds(program)
    if program.problems:
        return program
    if not replaces_rules(modules):
        program.constants = constants_of(program)
    texts: dict[Path, list[str]] = defaultdict(list)
    for path, definitions in program.definitions.items():
        for definition in definitions:
            writer = Writer(program, definition, aliases[definition.module["source"]["file"]])
            texts[path[:-1]] += writer.write(path[-1])
    texts["data", DECISION_PACKAGE] = entry(DecisionPackage(program, aliases))
    for package, rules in texts.items():
        name = ".".join(package)
        text = f"package {name.removeprefix('data.')}\n\n" + "\n\n".join(rules) + "\n"
        program.sources[name] = program.positions.finish(name, text)
    if any(f"data.{WRAPPERS}." in text for text in program.sources.values()):
        program.sources[WRAPPERS] = WRAPPING
    functions.check_recursion(program)
    return program


def replaces_rules(modules: list[Node]) -> bool:
    """Return whether a `with` replaces anything but input."""
    with_it = [module["ast"] for module in modules if _WITH.search(module["source"]["contents"])]
    targets = (
        each["refr"] for tree in with_it for _, node in nodes(tree["rules"]) for each in node.get("with_mods", ())
    )
    return any(path_of(target)[0] != "input" for target in targets)


def constants_of(program: GeneratedProgram) -> dict[str, dict[str, bool]]:
    """Return the rules that are sets of constant strings."""
    found = {}
    for path, definitions in program.definitions.items():
        node = definitions[0].node
        if len(definitions) > 1 or definitions[0].default or definitions[0].kind != "value" or node["bodies"]:
            continue
        assign = next(iter(node["head"].values()))["assign"]
        items = assign["value"].get("Set", {}).get("items") if assign else None
        if items and all(not {"String", "RawString"}.isdisjoint(item) for item in items):
            found[dotted(path)] = {str(next(iter(item.values()))["value"]): True for item in items}
    return found


def collect_rules(module: Node, program: GeneratedProgram) -> None:
    """Add the rules of a module to the program."""
    package = ("data", *path_of(module["ast"]["package"]["refr"]))
    program.packages.add(package)
    for entry in module["ast"]["rules"]:
        ((kind, node),) = entry.items()
        head_kind, head = ("Default", node) if kind == "Default" else next(iter(node["head"].items()))
        place = SourcePosition(module["source"]["file"], node["span"]["line"], node["span"]["col"])
        links = [*chain(head["refr"])]
        root = links[-1]["refr"] if links else head["refr"]
        name = str(root["Var"]["value"]) if "Var" in root else ""
        if not name or len(links) > (1 if head_kind == "Compr" else 0):
            program.refuse(place, "a rule's name has several parts. Use a name with one part")
            continue
        arity = len(head.get("args") or ())
        made = {"Set": "set", "Func": "function"}.get(head_kind, "object" if links else "value")
        if head_kind == "Default" and arity:
            made = "function"
        definition = Definition(module, (*package, name), made, arity, node, head_kind == "Default", place)
        program.definitions[(*package, name)].append(definition)


def imports_of(module: Node, program: GeneratedProgram) -> dict[str, Path]:
    """Return the paths that a module imports, by name."""
    aliases: dict[str, Path] = {}
    for imported in module["ast"]["imports"]:
        path = path_of(imported["refr"])
        place = SourcePosition(module["source"]["file"], *place_of(imported["refr"]))
        if path[:2] in KEYWORD_IMPORTS:
            check_keyword(path, module, place, program)
            continue
        if path[0] not in ("input", "data") or path == ("data",):
            program.refuse(place, f"{'.'.join(path)} cannot be imported. Import a path below input or data")
            continue
        alias = alias_of(imported, module["source"]["contents"]) or path[-1]
        if alias in aliases and aliases[alias] != path:
            program.refuse(place, f"the name {alias} is imported twice. Add `as` and another name")
        aliases[alias] = path
    return aliases


def check_keyword(path: Path, module: Node, place: SourcePosition, program: GeneratedProgram) -> None:
    """Refuse the import of a keyword that the engine lacks."""
    if path[2:] not in KEYWORDS:
        program.refuse(place, f"the keyword {'.'.join(path)} is not supported. Import one of contains, every, if, in")
    elif path == ("future", "keywords") and "NotExpr" in {kind for kind, _ in nodes(module["ast"]["rules"])}:
        message = "importing all keywords gives `not` a newer meaning, which is not supported. Remove this import"
        program.refuse(place, f"{message}, or name the keywords: import future.keywords.in")


class Writer(Bodies):
    """Writes one definition of a rule."""

    def __init__(self, program: GeneratedProgram, definition: Definition, aliases: dict[str, Path]) -> None:
        self.program, self.definition = program, definition
        package = definition.path[:-1]
        rules = {path[-1] for path in program.definitions if path[:-1] == package}
        source = definition.module["source"]
        super().__init__(source["file"], source["contents"].encode(), Names(package, rules, aliases), program.positions)

    def write(self, name: str) -> list[str]:
        """Return the texts of the definition under a name, or none if it is refused."""
        try:
            if self.definition.default:
                return [self.default(name)]
            return [*self.definitions(self.definition.node, name)]
        except RefusedError as error:
            self.program.problems.append(error.problem)
            return []

    def default(self, name: str) -> str:
        """Return a default. Raises RefusedError if it is not a constant."""
        node = self.definition.node
        if not self.is_ground(node["value"]):
            raise RefusedError(self.definition.place, "the value of a default must be a constant")
        arguments = f"({', '.join('_' for _ in node['args'])})" if node.get("args") else ""
        return f"{self.mark_span(node)}default {name}{arguments} := {self.positive(node['value'], [])}"

    def function(self, node: Node, place: SourcePosition) -> str:
        """Return the name by which the engine calls a function. Raises RefusedError."""
        return functions.called(self.program, self.definition.path, self.names, node, place)

    def referenced(self, path: Path, place: SourcePosition, *, continues: bool) -> None:
        """Check and note a reference. Raises RefusedError."""
        functions.check_reference(self.program, self.definition.path, path, place, continues=continues)

    def constant_set(self, path: Path) -> str | None:
        """Return where the strings of a constant rule are stored, or None."""
        found = dotted(path)
        return f"data.{CONSTANTS}[{json.dumps(found)}]" if found in self.program.constants else None

    def constant_strings(self, path: Path) -> list[str] | None:
        """Return the strings of a constant rule, or None."""
        found = self.program.constants.get(dotted(path))
        return None if found is None else [*found]

    def replaced(self, path: Path, place: SourcePosition) -> None:
        """Check the target of a `with`. Raises RefusedError."""
        functions.check_replaced(self.program, path, place)


@dataclass(slots=True)
class DecisionPackage:
    """Writes the package to evaluate."""

    program: GeneratedProgram
    aliases: dict[str, dict[str, Path]]

    def decisions(self) -> list[str]:
        """Return the rule `document`, with the values of all rules of interest, and each definition on its own."""
        fields, rules = [], []
        for name, definitions in self.program.entry_rules().items():
            fields.append(f'"{name}": [x | x := {dotted(definitions[0].path)}]')
            rules += self.write_definitions(name, definitions)
        return [f"document := {{{', '.join(fields)}}}", *rules]

    def write_definitions(self, name: str, definitions: list[Definition]) -> list[str]:
        """Return each definition as a rule of its own."""
        rules = []
        for index, definition in enumerate(definitions):
            aliases = self.aliases[definition.module["source"]["file"]]
            rules += Writer(self.program, definition, aliases).write(f"{name}_{index}")
            rules.append(f"{name}_{index}_asked := [x | x := data.{DECISION_PACKAGE}.{name}_{index}]")
        return rules

    def tests(self) -> list[str]:
        """Return a rule for each of the policy's own tests."""
        return [f"test_{index} := [x | x := {dotted(path)}]" for index, path in enumerate(tests_of(self.program))]


def tests_of(program: GeneratedProgram) -> list[Path]:
    """Return the paths of the policy's own tests, sorted."""
    return sorted(path for path in program.definitions if path[-1].startswith("test_"))
