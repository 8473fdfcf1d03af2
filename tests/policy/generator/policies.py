"""Whole generated policies: one to four files in one or several packages, with imports."""

from dataclasses import dataclass, field
from random import Random

from tests.policy.generator.expressions import Name, Scope
from tests.policy.generator.inputs import inputs
from tests.policy.generator.rules import Rules
from tests.rego.oracle import Asked

MAIN = ["wirekey.authz", "behavry.authz"]
LIBRARIES = ["wirekey.lists", "wirekey.roles", "lib.models", "company.wirekey.lists"]
ALIASES = ["lists", "common", "lib", "models"]
FILES = ["aa", "lists", "main", "models", "roles", "zz", "10-extra", "sub/rules"]
INPUT_IMPORTS = [
    *(("model", "input.model"), ("asked", "input.model"), ("role", "input.agent.role"), ("agent", "input.agent")),
    *(("lists", "input.tools"), ("tools", "input.tools"), ("models", "input.model")),
]
INPUTS = 6


@dataclass
class File:
    package: str
    imports: dict[str, str] = field(default_factory=dict)
    """Alias to what is imported: `data.lib.models`, `input.model`."""
    rules: list[str] = field(default_factory=list)

    @property
    def text(self):
        imports = [
            f"import {path}" if path.rpartition(".")[2] == alias else f"import {path} as {alias}"
            for alias, path in self.imports.items()
        ]
        return "\n\n".join(["\n".join([f"package {self.package}", *imports]), *self.rules]) + "\n"


def generated(seed, count=INPUTS):
    """Return the policy of a seed, and inputs for it."""
    random = Random(seed)
    return Policies(random).policy(count)


class Policies(Rules):
    """Makes policies. Rules refer only to rules that were made before them, so there is no recursion."""

    def __init__(self, random):
        super().__init__(random)
        self.known_names = []

    def policy(self, count):
        main = self.random.choice(MAIN)
        libraries = self.random.sample(LIBRARIES, self.random.choice([0, 0, 1, 1, 2]))
        files = [File(package) for package in libraries]
        files += [File(main) for _ in range(self.random.choice([1, 1, 1, 2, 2, 3]))]
        files = files[-4:]
        data = {}
        if self.chance(0.3):
            data = {"limits": {"models": ["gpt-4o", "eu.nova"], "tokens": 100}}
            self.known_names += [Name("limits", "models", "list"), Name("limits", "tokens", "number")]
        for file in files:
            self.import_others(file, [*libraries, main])
            for _ in range(self.random.choice([1, 1, 2])):
                self.helper(file)
        self.decisions([file for file in files if file.package == main])
        names = self.random.sample(FILES, len(files))
        rego = {f"{name}.rego": file.text for name, file in zip(names, files, strict=True)}
        return Asked(dict(sorted(rego.items())), f"data.{main}", inputs(self.random, count), data)

    def import_others(self, file, packages):
        """Import other packages, and sometimes one of their rules or a field of the input."""
        for package in packages:
            if package != file.package and self.chance(0.8):
                alias = package.rpartition(".")[2] if self.chance(0.6) else self.random.choice(ALIASES)
                file.imports.setdefault(alias, f"data.{package}")
        others = [name for name in self.known_names if name.package != file.package]
        if others and self.chance(0.3):
            name = self.random.choice(others)
            alias = name.name if self.chance(0.6) else self.random.choice(ALIASES)
            file.imports.setdefault(alias, f"data.{name.package}.{name.name}")
        if self.chance(0.2):
            alias, path = self.random.choice(INPUT_IMPORTS)
            file.imports.setdefault(alias, path)

    def scope(self, file):
        """Return what a rule of a file may refer to."""
        scope = Scope()
        aliases = {path: alias for alias, path in file.imports.items()}
        for name in self.known_names:
            package, path = f"data.{name.package}", f"data.{name.package}.{name.name}"
            if name.package == file.package:
                scope.names.append((name.name, name))
            elif path in aliases and self.chance(0.7):
                scope.names.append((aliases[path], name))
            elif package in aliases and self.chance(0.9):
                scope.names.append((f"{aliases[package]}.{name.name}", name))
            else:
                scope.names.append((path, name))
        for path, alias in aliases.items():
            if path in ("input.model", "input.agent.role"):
                scope.names.append((alias, Name("input", alias, "text")))
            elif path == "input.agent":
                scope.names.append((f"{alias}.role", Name("input", "role", "text")))
            elif path == "input.tools":
                scope.names.append((alias, Name("input", "tools", "list")))
        return scope

    def helper(self, file):
        """Add one rule or function with all its definitions."""
        scope = self.scope(file)
        kind = self.random.choices(
            ["flag", "text", "number", "list", "map", "set", "object", "function"], [4, 1, 1, 4, 1, 2, 1, 3]
        )[0]
        name = self.named("rule" if kind != "function" else "check")
        if kind == "flag":
            file.rules += self.flag_rule(name, scope)
            self.known_names.append(Name(file.package, name, "flag"))
        elif kind == "set":
            file.rules += self.set_rule(name, scope)
            self.known_names.append(Name(file.package, name, "list"))
        elif kind == "object":
            file.rules += self.map_rule(name, scope)
            self.known_names.append(Name(file.package, name, "map"))
        elif kind == "function":
            takes = tuple(self.random.choices(["text", "list"], [4, 1], k=self.random.choice([1, 1, 2])))
            type_ = self.random.choices(["flag", "text", "number"], [4, 1, 1])[0]
            file.rules += self.function(name, type_, takes, scope)
            self.known_names.append(Name(file.package, name, type_, takes))
        else:
            file.rules += self.value_rule(name, kind, scope)
            self.known_names.append(Name(file.package, name, kind))

    def decisions(self, files):
        """Add the rules that decide, spread over the files of the main package."""
        if self.chance(0.75):
            for _ in range(self.random.choice([1, 1, 2])):
                file = self.random.choice(files)
                file.rules.append(self.denial(self.scope(file)))
        else:
            self.spread("deny", files)
        if self.chance(0.5):
            self.spread("allow", files)
        if self.chance(0.2):
            file = self.random.choice(files)
            file.rules += self.value_rule("max_tokens", "number", self.scope(file))
        if self.chance(0.1):
            file = self.random.choice(files)
            file.rules += self.value_rule("model", "text", self.scope(file))

    def spread(self, name, files):
        """Add the definitions of one boolean to some of the files. A rule has at most one default."""
        has_default = False
        for file in self.random.sample(files, self.random.randint(1, len(files))):
            for definition in self.flag_rule(name, self.scope(file)):
                is_default = definition.startswith("default ")
                if not (is_default and has_default):
                    file.rules.append(definition)
                has_default = has_default or is_default
