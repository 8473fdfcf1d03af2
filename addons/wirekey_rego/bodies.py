"""Rewrites rules for the engine: their bodies, statement by statement, and their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey_rego.names import RefusedError
from wirekey_rego.references import constant, dotted, is_reference
from wirekey_rego.sourcemap import SourcePosition
from wirekey_rego.syntax import chain
from wirekey_rego.unification import Unification

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_rego.expressions import Before
    from wirekey_rego.names import Path
    from wirekey_rego.syntax import Node


@dataclass(slots=True)
class RewrittenStatement:
    """One statement after rewriting. `waits`: its variables need their values before it."""

    lines: list[str]
    waits: bool
    mentioned: set[str]
    negated: Node | None = None


class Bodies(Unification):
    """Prints one rule in the form that the engine decides as OPA does. Raises RefusedError."""

    def definitions(self, node: Node, name: str) -> Iterator[str]:
        """Yield the definitions of a rule under a name. Rules of Rego v0 can have several."""
        ((kind, head),) = node["head"].items()
        arguments = ""
        taken: Before = []
        if kind == "Func":
            arguments = f"({', '.join([self.pattern(each, taken) for each in head['args']])})"
        chains: list[list[Node]] = []
        for body in node["bodies"] or [{"assign": None, "is_else": False, "query": {"stmts": []}}]:
            if body["is_else"] and chains:
                chains[-1].append(body)
            else:
                chains.append([body])
        for bodies in chains:
            yield self.mark_span(node) + " else ".join(
                [self.branch(kind, head, body, "" if body["is_else"] else name + arguments, taken) for body in bodies]
            )

    def branch(self, kind: str, head: Node, body: Node, name: str, taken: Before) -> str:
        """Return one body with its head. `taken`: the statements that match its arguments."""
        names = self.names
        arguments = names.frame.declared
        names.enter()
        names.frame.declared |= arguments
        names.frame.bound |= {*arguments.values()}
        lines = [*taken, *self.statements(body["query"]["stmts"])]
        before: Before = []
        key, value = head_parts(kind, head, body)
        before_names, names.mentioned = names.mentioned, set()
        shown = "true" if value is None else self.head(value, before)
        if kind == "Set":
            assert key is not None
            text = f"{name} contains {self.head(key, before)}"
        else:
            text = f"{name}[{self.head(key, before)}] := {shown}" if key else f"{name} := {shown}".lstrip()
        names.mentioned |= before_names
        names.leave()
        for variable, place in names.unused.values():
            raise RefusedError(place, f"declared var {variable} is unused. Write _ instead, or remove it")
        lines += before
        if not lines and not body["is_else"]:
            return text
        # A line that begins with a parenthesis would be parsed as the arguments of the line before it.
        return f"{text} if {{\n\t" + ";\n\t".join(lines or ["true"]) + "\n}"

    def statements(self, statements: list[Node]) -> list[str]:
        """Return the texts of a body's statements. Those whose variables get their values later come last."""
        names, lines, late, negations = self.names, [], [], []
        for statement in statements:
            outside, names.mentioned = names.mentioned, set()
            known = names.frame.bound | names.frame.outer() | {"_"}
            declared = {*names.frame.declared.values()}
            group = self.statement(statement)
            mentioned = group.mentioned
            new = {*names.frame.declared.values()} - declared
            names.mentioned = outside | mentioned
            if group.negated is None:
                names.frame.bound |= mentioned - names.open if "SomeVars" in statement["literal"] else mentioned
            else:
                negations.append(group)
            if group.waits and not mentioned - new <= known:
                late.append(group)
            else:
                lines += group.lines
        for group in negations:
            self.check_safety(group)
        return [*lines, *(line for group in late for line in group.lines)]

    def check_safety(self, group: RewrittenStatement) -> None:
        """Refuse a negation with a variable that gets no value elsewhere. Raises RefusedError."""
        unsafe = group.mentioned - self.names.frame.bound - self.names.frame.outer()
        if unsafe and group.negated:
            name = min(unsafe).rpartition("__")[0] or "_"
            message = f"var {name} is unsafe: nothing outside of `not` gives it a value"
            raise RefusedError(self.place(group.negated), message)

    def statement(self, statement: Node) -> RewrittenStatement:
        """Return what one statement becomes. Raises RefusedError."""
        ((kind, node),) = statement["literal"].items()
        calls: Before = []
        operands: Before = []
        first: Before = []
        negated = None
        with_text = "".join([self.with_modifier(each, first) for each in statement.get("with_mods", [])])
        if kind == "NotExpr":
            negated = node["expr"]
            texts = ["not " + self.negated(negated, calls, operands)]
        elif kind == "Expr":
            texts = self.plain(node["expr"], calls)
        elif kind == "SomeIn":
            texts = self.some_in(node, calls)
        elif kind == "Every":
            texts = [self.every(node, calls)]
        else:
            # All names are unique, so the engine needs no declaration. It counts one within a loop twice.
            texts = []
            for span in node["vars"]:
                self.names.open.add(self.names.declare(*self.spanned(span), by_some=True))
        lines = [f"{line}{with_text}" for line in [*calls, *operands, *texts]]
        waits = negated is not None or bool(calls or operands)
        mark = self.mark_span(statement)
        return RewrittenStatement([mark + line for line in [*first, *lines]], waits, self.names.mentioned, negated)

    def plain(self, node: Node, before: Before) -> list[str]:
        """Return the lines of an expression that is not negated."""
        ((kind, inner),) = node.items()
        if kind != "AssignExpr":
            if kind == "Call" and "print" in inner["fcn"].get("Var", {}).values():
                return []
            return [self.member_of_constant(node, before) or self.positive(node, before, nested=False)]
        if inner["op"] == "Eq":
            return self.equation(inner["lhs"], inner["rhs"], before)
        right = self.positive(inner["rhs"], before, nested=False)
        after: Before = []
        return [f"{self.pattern(inner['lhs'], after)} := {right}", *after]

    def some_in(self, node: Node, before: Before) -> list[str]:
        """Return a loop that runs zero times if its operand is not a collection. The engine's own loop would fail."""
        collection = self.positive(node["collection"], before)
        if not (self.is_local(node["collection"]) or is_reference(node["collection"])):
            collection = self.hoisted(collection, before)
        key = "_"
        if node["key"] is not None:
            if "Var" not in node["key"]:
                raise RefusedError(self.place(node["key"]), "the key must be a variable. Compare it in the next line")
            key = self.pattern(node["key"], [], by_some=True)
        after: Before = []
        value = self.pattern(node["value"], after, by_some=True)
        return [f"{self.names.fresh() if value.endswith('_') else value} := {collection}[{key}]", *after]

    def every(self, node: Node, before: Before) -> str:
        """Return an `every`, with its domain taken out."""
        names = self.names
        domain = self.positive(node["domain"], before, nested=False)
        outside, names.mentioned = names.mentioned, set()
        names.enter()
        variables = [names.declare(*self.spanned(span)) for span in (node["key"], node["value"]) if span]
        names.frame.bound |= {*variables}
        # The engine treats a variable of `every` as unbound if it is an index. So the body uses a copy.
        given = [names.fresh() for _ in variables]
        copies = [f"{name} := {value}" for name, value in zip(variables, given, strict=True) if name != "_"]
        lines = [*copies, *self.statements(node["query"]["stmts"])]
        # Calls that were taken out of their statements mention these.
        taken_out = names.frame.bound & names.frame.outer()
        names.leave()
        # The engine does not see that the body needs these variables. So the domain mentions them.
        needed = sorted((names.mentioned | taken_out) - {"_"})
        names.mentioned |= outside
        domain = self.hoisted(f"[{', '.join([domain, *needed])}][0]" if needed else domain, before)
        return f"every {', '.join(given)} in {domain} {{ {'; '.join(lines) or 'true'} }}"

    def with_modifier(self, node: Node, before: Before) -> str:
        """Return one `with` and add what its value needs to `before`. Raises RefusedError."""
        target = node["refr"]
        links = [*chain(target)][::-1]
        first = links[0]["refr"] if links else target
        parts = [constant(link) for link in links]
        path = self.names.path(str(first["Var"]["value"])) if "Var" in first else None
        if path is None or None in parts:
            raise RefusedError(self.place(target), "`with` can replace only input and data, by constant paths")
        whole = (*path, *(part for part in parts if part is not None))
        self.replaced(whole, self.place(target))
        value = node["as"]
        if self.is_ground(value) or self.is_local(value):
            return f" with {dotted(whole)} as {self.positive(value, before)}"
        return f" with {dotted(whole)} as {self.hoisted(self.positive(value, before, nested=False), before)}"

    def replaced(self, path: Path, place: SourcePosition) -> None:
        """Check the target of a `with`. Raises RefusedError."""

    def spanned(self, span: Node) -> tuple[str, SourcePosition]:
        """Return a variable of which the tree has only the position."""
        text = self.source[span["start"] : span["end"]].decode()
        return text, SourcePosition(self.file, span["line"], span["col"])

    def mark_span(self, node: Node) -> str:
        """Return a mark for the position of a node."""
        return self.positions.mark(SourcePosition(self.file, node["span"]["line"], node["span"]["col"]))


def head_parts(kind: str, head: Node, body: Node) -> tuple[Node | None, Node | None]:
    """Return the key and the value of a rule's head, or of an `else`."""
    if kind == "Set":
        return head["key"], None
    assign = body["assign"] if body["is_else"] else head["assign"]
    value = assign["value"] if assign else None
    links = [*chain(head["refr"])]
    if kind == "Func" or not links:
        return None, value
    link = links[0]
    if "field" in link:
        return {"String": {"span": link["field"][0], "value": link["field"][-1]}}, value
    return link["index"], value
