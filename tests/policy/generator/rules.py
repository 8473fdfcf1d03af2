"""Bodies and rules of generated policies."""

import re

from tests.policy.generator.expressions import Expressions, Scope, quoted
from tests.policy.generator.inputs import MODELS, ROLES

INDENT = "\t"


class Rules(Expressions):
    """Makes rules. A rule is a text; its body has one expression a line, so that it can be shrunk by lines."""

    def __init__(self, random):
        super().__init__(random)
        self._named = 0

    def named(self, beginning):
        """Return a name that nothing in the policy has yet."""
        self._named += 1
        return f"{beginning}{self._named}"

    def body(self, scope, least=1, most=3):
        """Return the lines of a body, and the scope behind them."""
        self.forget_variables()
        scope = Scope(list(scope.names), dict(scope.variables))
        lines = self.shadowing(scope) if most > 1 and self.chance(0.08) else []
        for _ in range(self.random.randint(least, most)):
            lines += self.expression(scope)
        return [*lines, *self.uses(lines, scope)], scope

    def shadowing(self, scope):
        """Return the declaration of a variable by the name of a rule or an import, which it hides from then on."""
        names = [text.partition(".")[0] for text, _ in scope.names if not text.startswith("data.")]
        if not names:
            return []
        hidden = self.random.choice(names)
        term = self.random.choice(["input.model", "lower(input.agent.role)", quoted(self.random.choice(MODELS))])
        scope.names = [(text, name) for text, name in scope.names if text.partition(".")[0] != hidden]
        scope.variables[hidden] = "text"
        return [f"{hidden} := {term}"]

    def uses(self, lines, scope):
        """Return conditions on the variables that nothing else uses, since OPA refuses those that `some` declares."""
        text = "\n".join(lines)
        unused = [
            name
            for name in scope.variables
            if name[:1] in "vk" and name[1:].isdigit() and len(re.findall(rf"\b{name}\b", text)) == 1
        ]
        return [f'{name} != "nothing"' for name in unused]

    def expression(self, scope):
        """Return the lines of one expression. Variables that it declares are added to the scope."""
        makes = [
            (6, lambda: [self.condition(scope)]),
            (1, lambda: [f"{self.list(scope, 0)}[_] == {self.text(scope, 1)}"]),
            (4, lambda: [f"not {self.condition(scope)}"]),
            (2, lambda: self.some_in(scope)),
            (1, lambda: self.every(scope)),
            (2, lambda: self.assignment(scope)),
            (1, lambda: self.with_expression(scope)),
            (
                1,
                lambda: [
                    f"count({self.list(scope)}) {self.random.choice(['>', '==', '<'])} {self.random.choice('012')}"
                ],
            ),
        ]
        return self.random.choices([make for _, make in makes], [weight for weight, _ in makes])[0]()

    def some_in(self, scope):
        collection = self.list(scope, 1)
        kind = self.random.random()
        variable = self.fresh("v")
        if kind < 0.7:
            scope.variables[variable] = "text"
            return [f"some {variable} in {collection}"]
        if kind < 0.85:
            scope.variables[variable] = "text"
            return [f"some {variable}", f"{variable} = {self.random.choice(['input.tools', 'input.other_models'])}[_]"]
        key = self.fresh("k")
        scope.variables[key] = "text"
        scope.variables[variable] = "number"
        return [f"some {key}, {variable} in {self.map(scope, 0)}"]

    def every(self, scope):
        variable = self.fresh("v")
        inner = self.with_variable(scope, variable)
        lines = [f"not {self.condition(inner)}" if self.chance(0.3) else self.condition(inner)]
        if not re.search(rf"\b{variable}\b", lines[0]):
            lines.append(f"{self.random.choice(['', 'not '])}{variable} in {self.list(scope, 0)}")
        return [f"every {variable} in {self.list(scope, 1)} {{", *(f"{INDENT}{line}" for line in lines), "}"]

    def assignment(self, scope):
        type_ = self.random.choice(["text", "text", "number", "list"])
        term = self.term(type_, scope)
        variable = self.fresh("x")
        scope.variables[variable] = type_
        return [f"{variable} := {term}"]

    def with_expression(self, scope):
        rules = scope.written("flag") + scope.written("list")
        if not rules:
            return [self.condition(scope)]
        text, name = self.random.choice(rules)
        target, value = self.random.choice(
            [
                ("input.model", quoted(self.random.choice(MODELS))),
                ("input.agent.role", quoted(self.random.choice(ROLES))),
                ("input.agent", '{"role": "admin"}'),
                ("input.tools", '["shell"]'),
                ("input", '{"model": "gpt-4o"}'),
            ]
        )
        lists = [f"data.{each.package}.{each.name}" for _, each in scope.written("list") if each.package != "input"]
        if lists and self.chance(0.4):
            target, value = self.random.choice(lists), self.literal_set()
        subject = f"{text}" if name.type == "flag" else f"{self.text(scope, 0)} in {text}"
        return [f"{'not ' if self.chance(0.4) else ''}{subject} with {target} as {value}"]

    # Rules.

    def braced(self, head, lines):
        if not lines:
            return head
        if len(lines) == 1 and self.chance(0.4) and not lines[0].startswith("{"):
            return f"{head} if {lines[0]}"
        return "\n".join([f"{head} if {{", *(f"{INDENT}{line}" for line in lines), "}"])

    def denial(self, scope):
        """Return a rule that adds a reason to `deny`."""
        lines, inner = self.body(scope)
        kind = self.random.random()
        if kind < 0.5:
            return self.braced(f"deny contains {quoted(self.named('reason '))}", lines)
        variables = [name for name in inner.variables if inner.variables[name] in ("text", "number")]
        shown = self.random.choice(variables) if variables else self.text(inner, 0)
        reason = f'sprintf("%v is denied", [{shown}])'
        if kind < 0.8:
            return self.braced(f"deny contains {reason}", lines)
        return self.braced("deny contains message", [*lines, f"message := {reason}"])

    def flag_rule(self, name, scope):
        """Return the rules of a boolean: one or more bodies, perhaps a default or `else`."""
        rules = [self.braced(name, self.body(scope)[0]) for _ in range(self.random.choice([1, 1, 2, 3]))]
        if self.chance(0.25):
            rules[0] = self.with_else(rules[0], "else := false", scope)
        if self.chance(0.3):
            rules.insert(0, f"default {name} := false")
        return rules

    def with_else(self, rule, other, scope):
        if not rule.endswith("}") or "\n" not in rule:
            return rule
        lines, _ = self.body(scope, 1, 2)
        return "\n".join([f"{rule} {other} if {{", *(f"{INDENT}{line}" for line in lines), "}"])

    def value_rule(self, name, type_, scope):
        """Return the rules of a value: constant, computed, or one that depends on the input."""
        if self.chance(0.4):
            return [f"{name} := {self.constant(type_)}"]
        if self.chance(0.3):
            return [f"{name} := {self.term(type_, scope)}"]
        first = self.braced(f"{name} := {self.constant(type_)}", self.body(scope)[0])
        rules = [self.with_else(first, f"else := {self.constant(type_)}", scope)]
        if self.chance(0.15):
            rules.append(self.braced(f"{name} := {self.constant(type_)}", self.body(scope, 2, 3)[0]))
        if self.chance(0.4):
            rules.insert(0, f"default {name} := {self.constant(type_)}")
        return rules

    def constant(self, type_):
        empty = Scope()
        if type_ == "text":
            return quoted(self.random.choice(MODELS))
        if type_ == "number":
            return str(self.random.choice([1, 10, 100, 1000]))
        if type_ == "map":
            return self.map(empty, 0)
        return self.literal_set() if self.chance(0.7) else f"[{', '.join(self.words(0, 3))}]"

    def set_rule(self, name, scope):
        """Return the rules of a partial set."""
        rules = []
        for _ in range(self.random.choice([1, 2])):
            lines, inner = self.body(scope, 0 if self.chance(0.3) else 1, 2)
            rules.append(self.braced(f"{name} contains {self.text(inner, 1)}", lines))
        return rules

    def map_rule(self, name, scope):
        """Return the rules of a partial object."""
        collection = self.list(scope, 1)
        variable = self.fresh("v")
        value = self.random.choice(["1", "count(input.tools)", f"count({variable})"])
        return [self.braced(f"{name}[{variable}] := {value}", [f"some {variable} in {collection}"])]

    def function(self, name, type_, takes, scope):
        """Return the definitions of a function."""
        parameters = [self.fresh("p") for _ in takes]
        inner = Scope(scope.names, dict(zip(parameters, takes, strict=True)))
        head = f"{name}({', '.join(parameters)})"
        if type_ != "flag":
            lines, behind = self.body(inner, 0, 2)
            first = self.braced(f"{head} := {self.term(type_, behind)}", lines)
            return [self.with_else(first, f"else := {self.constant(type_)}", inner)]
        rules = [self.braced(head, self.body(inner, 1, 2)[0]) for _ in range(self.random.choice([1, 1, 2]))]
        if self.chance(0.15):
            rules[0] = self.with_else(rules[0], "else := false", inner)
        if self.chance(0.15):
            rules.insert(0, f"default {name}({', '.join('_' * len(takes))}) := false")
        return rules
