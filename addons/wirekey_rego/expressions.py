"""Rewrites expressions as OPA's compiler does, for an engine that has the same semantics but does not rewrite.

OPA takes calls, then references that are operands, out of negated expressions: `not startswith(input.model, "x")`
becomes `w := input.model; not startswith(w, "x")`, which does not hold without a model. A reference that is negated
itself, or compared by `==`, stays: `not input.model` holds without a model.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wirekey_rego import builtins
from wirekey_rego.exactness import check_arithmetic, check_order, exact_number
from wirekey_rego.names import Names, RefusedError
from wirekey_rego.references import constant, dotted, is_reference, step
from wirekey_rego.sourcemap import SourcePosition
from wirekey_rego.syntax import chain, place_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey_rego.names import Path
    from wirekey_rego.sourcemap import SourceMap
    from wirekey_rego.syntax import Node

SCALARS = frozenset({"String", "RawString", "Number", "Bool", "Null"})
CALLS = frozenset({"Call", "BinExpr", "BoolExpr", "ArithExpr", "Membership", "UnaryExpr"})
COMPREHENSIONS = {"ArrayCompr": ("[", "]"), "SetCompr": ("{", "}"), "ObjectCompr": ("{", "}")}
OPERATORS = {
    "Intersection": "&",
    "Union": "|",
    "Add": "+",
    "Sub": "-",
    "Mul": "*",
    "Div": "/",
    "Mod": "%",
    "Lt": "<",
    "Le": "<=",
    "Eq": "==",
    "Ge": ">=",
    "Gt": ">",
    "Ne": "!=",
}
LONGEST_LITERAL = 8
"""Strings of a constant rule that are written where the rule is used."""

type Before = list[str]
"""Statements that must come before the current one."""


class Expressions:
    """Prints the expressions of one rule. Raises RefusedError."""

    def __init__(self, file: str, source: bytes, names: Names, positions: SourceMap) -> None:
        self.file, self.source, self.names, self.positions = file, source, names, positions

    def function(self, node: Node, place: SourcePosition) -> str:
        """Return the name by which the engine calls a function. Raises RefusedError."""
        raise NotImplementedError

    def referenced(self, path: Path, place: SourcePosition, *, continues: bool) -> None:
        """Check and note a path below input or data. `continues`: a computed part follows. Raises RefusedError."""
        raise NotImplementedError

    def takes_apart(self, node: Node) -> bool:
        """Return whether an expression has an object with variables that it may bind."""
        raise NotImplementedError

    def statements(self, statements: list[Node]) -> list[str]:
        """Return the texts of a body's statements. Raises RefusedError."""
        raise NotImplementedError

    def place(self, node: Node) -> SourcePosition:
        """Return the position of a node."""
        return SourcePosition(self.file, *place_of(node))

    def mark(self, node: Node) -> str:
        """Return a mark for the position of a node."""
        return self.positions.mark(self.place(node))

    def positive(self, node: Node, before: Before, *, nested: bool = True) -> str:
        """Return the text of an expression that is not negated."""
        ((kind, inner),) = node.items()
        if kind in SCALARS:
            return self.mark(node) + self.scalar(kind, inner)
        if kind == "Var" or kind.startswith("Ref"):
            return self.reference(node, lambda index: self.part(index, before), before)
        if kind in COMPREHENSIONS:
            return self.comprehension(kind, inner)
        if kind in CALLS:
            text = self.call(node, lambda operand: self.operand_of_call(kind, operand, before))
            return text if kind == "Call" or not nested else f"({text})"
        if kind in ("Array", "Set", "Object"):
            return self.composite(kind, inner, lambda item: self.part(item, before))
        raise RefusedError(self.place(node), "an assignment cannot be part of an expression")

    def operand_of_call(self, kind: str, node: Node, before: Before) -> str:
        """Return an operand's text.

        If y is undefined, `x in y` is false here and undefined in OPA, so y is taken out.
        """
        if kind == "Call" and (literal := self.literal_set(node)):
            return literal
        text = self.part(node, before)
        if kind != "Membership" or self.is_ground(node) or self.is_local(node):
            return text
        return self.hoisted(text, before)

    def part(self, node: Node, before: Before) -> str:
        """Return the text of a part of an expression. Calls that evaluate rules of the policy are taken out of it.

        OPA evaluates calls before the references beside them: a conflict within such a rule or function is an error
        also where a reference is undefined.
        """
        text = self.positive(node, before)
        return self.hoisted(text, before) if not CALLS.isdisjoint(node) and self.evaluates_rules(node) else text

    def evaluates_rules(self, tree: Any) -> bool:
        """Return whether an expression calls or names a rule of the policy, outside of comprehensions."""
        if isinstance(tree, list):
            return any(map(self.evaluates_rules, tree))
        if not isinstance(tree, dict):
            return False
        if (call := tree.get("Call")) and self.function(call, self.place(call["fcn"])).startswith("data."):
            return True
        if "Var" in tree and (path := self.names.path(str(tree["Var"]["value"]))) and path[0] == "data":
            return self.constant_set(path) is None
        return any(self.evaluates_rules(value) for key, value in tree.items() if key not in COMPREHENSIONS)

    def negated(self, node: Node, calls: Before, operands: Before) -> str:
        """Return what stays behind `not`. `calls` and `operands`: the statements before it, in this order."""
        ((kind, inner),) = node.items()
        if kind == "AssignExpr" and inner["op"] == "ColEq":
            raise RefusedError(self.place(node), "an assignment cannot be negated. Use == instead of :=")
        if kind == "AssignExpr" or (kind == "BoolExpr" and inner["op"] == "Eq"):
            left = self.whole(inner["lhs"], calls, operands)
            right = self.whole(inner["rhs"], calls, operands)
            return f"{self.mark(node)}{left} == {right}"
        if kind == "Membership" and (text := self.member_of_constant(node, operands)):
            return text
        if kind in CALLS:
            return self.call(node, lambda operand: self.operand(operand, calls, operands))
        return self.whole(node, calls, operands)

    def member_of_constant(self, node: Node, before: Before) -> str | None:
        """Return a look-up for `x in names` if `names` is a rule of constant strings, which then need not be built."""
        inner = node.get("Membership")
        if inner is None or inner["key"] is not None:
            return None
        value, collection = inner["value"], inner["collection"]
        if not is_reference(collection) or not (is_reference(value) or self.is_ground(value)):
            return None
        if self.is_local(value) and not self.names.is_declared(str(value["Var"]["value"])):
            return None  # it must have a value: a look-up would bind it
        path = self.whole_path(collection)
        place = self.constant_set(path) if path else None
        if place is None or path is None:
            return None
        self.referenced(path, self.place(collection), continues=False)
        text = self.positive(value, before)
        if is_reference(value) and not self.is_local(value):
            text = self.hoisted(text, before)
        return f"{self.mark(node)}{place}[{text}]"

    def literal_set(self, node: Node) -> str | None:
        """Return a literal for a reference to a rule of a few constant strings, which then need not be evaluated."""
        path = self.whole_path(node) if is_reference(node) else None
        strings = self.constant_strings(path) if path else None
        if path is None or strings is None or len(strings) > LONGEST_LITERAL:
            return None
        self.referenced(path, self.place(node), continues=False)
        return f"{self.mark(node)}{{{', '.join(map(json.dumps, strings))}}}"

    def whole_path(self, node: Node) -> Path | None:
        """Return the path of a reference that is constant and not a local variable's, or None."""
        links = [*chain(node)][::-1]
        first = links[0]["refr"] if links else node
        path = self.names.path(str(first["Var"]["value"])) if "Var" in first else None
        parts = [constant(link) for link in links]
        return None if path is None or None in parts else (*path, *map(str, parts))

    def constant_set(self, path: Path) -> str | None:
        """Return where the strings of a constant rule are stored as an object's names, or None."""
        raise NotImplementedError

    def constant_strings(self, path: Path) -> list[str] | None:
        """Return the strings of a constant rule, or None."""
        raise NotImplementedError

    def whole(self, node: Node, calls: Before, operands: Before) -> str:
        """Return a term that may be undefined behind `not`. Only its parts are taken out."""
        ((kind, inner),) = node.items()
        if kind.startswith("Ref") or (kind == "Var" and not self.is_local(node)):
            return self.reference(node, lambda index: self.operand(index, calls, operands), calls)
        if kind in COMPREHENSIONS:
            return self.comprehension(kind, inner)
        return self.operand(node, calls, operands)

    def operand(self, node: Node, calls: Before, operands: Before) -> str:
        """Return an operand behind `not`. All that may be undefined is taken out."""
        ((kind, inner),) = node.items()
        if kind in CALLS:
            return self.hoisted(self.positive_apart(node, calls), calls)
        if kind.startswith("Ref") or (kind == "Var" and not self.is_local(node)):
            return self.literal_set(node) or self.hoisted(self.whole(node, calls, operands), operands)
        if kind in ("Array", "Set", "Object"):
            return self.composite(kind, inner, lambda item: self.operand(item, calls, operands))
        return self.positive(node, calls)

    def positive_apart(self, node: Node, calls: Before) -> str:
        """Return a call that is taken out of a negation. Its variables count as those of a separate statement."""
        mentioned, self.names.mentioned = self.names.mentioned, set()
        text = self.positive(node, calls, nested=False)
        self.names.frame.bound |= self.names.mentioned
        self.names.mentioned = mentioned
        return text

    def hoisted(self, text: str, before: Before) -> str:
        """Assign an expression to a new variable in `before`. Return the variable."""
        name = self.names.fresh()
        before.append(f"{name} := {text}")
        return name

    def call(self, node: Node, operand: Callable[[Node], str]) -> str:
        """Return a call or an operation. `operand` prints its operands."""
        ((kind, inner),) = node.items()
        mark = self.mark(node)
        if kind == "Call":
            name = self.function(inner, self.place(inner["fcn"]))
            if name in ("sort", "min", "max"):
                check_order(self.place(inner["fcn"]), inner["params"][0].get("Array", {}).get("items", []))
            if name == "walk":
                self.check_index(inner["params"][1])
            if not name.startswith("data."):
                try:
                    name, shown = builtins.arguments(name, inner["params"], operand)
                except builtins.UnprovenError as error:
                    raise RefusedError(self.place(inner["fcn"]), str(error)) from None
            else:
                shown = [operand(each) for each in inner["params"]]
            return f"{mark}{name}({', '.join(shown)})"
        if kind == "UnaryExpr":
            raise RefusedError(self.place(node), "only a number can have a minus sign. Write 0 - x")
        if kind == "Membership":
            items = inner["collection"].get("Array", {}).get("items", [])
            if any(
                "Var" in item and item["Var"]["value"] == inner["value"].get("Var", {}).get("value") for item in items
            ):
                # OPA's rule index does not find such a rule.
                raise RefusedError(
                    self.place(node), "the value is an element of the array it is looked up in. Remove it there"
                )
            parts = [operand(inner[side]) for side in ("key", "value") if inner[side] is not None]
            return f"{mark}{', '.join(parts)} in {operand(inner['collection'])}"
        if kind == "ArithExpr":
            check_arithmetic(self.place(node), inner)
        if kind == "BoolExpr" and inner["op"] not in ("Eq", "Ne"):
            check_order(self.place(node), [inner["lhs"], inner["rhs"]], either=True)
        left, right = operand(inner["lhs"]), operand(inner["rhs"])
        return f"{left} {mark}{OPERATORS[inner['op']]} {right}"

    def composite(self, kind: str, inner: Node, item: Callable[[Node], str]) -> str:
        """Return an array, set or object. `item` prints its elements."""
        if kind == "Object":
            self.check_keys([(key, value) for _, key, value in inner["fields"]])
            return "{" + ", ".join([f"{item(key)}: {item(value)}" for _, key, value in inner["fields"]]) + "}"
        text = ", ".join([item(each) for each in inner["items"]])
        if kind == "Set":
            check_order(SourcePosition(self.file, inner["span"]["line"], inner["span"]["col"]), inner["items"])
            return "{" + text + "}" if text else "set()"
        return f"[{text}]"

    def check_keys(self, fields: list[tuple[Node, Node]]) -> None:
        """Refuse an object that has a key twice, unless both values are constant.

        OPA drops the first value before it looks for variables that are unused or unsafe.
        """
        seen: dict[tuple[bool, str], bool] = {}
        for key, value in fields:
            ((kind, inner),) = key.items()
            if kind not in SCALARS:
                continue
            identity = ("String" in kind, str(inner.get("value")))
            is_constant = self.is_ground(value)
            if not (seen.get(identity, True) and (is_constant or identity not in seen)):
                raise RefusedError(self.place(key), f"the object has the key {identity[1]} twice. Remove one of them")
            seen[identity] = is_constant

    def comprehension(self, kind: str, inner: Node) -> str:
        """Return a comprehension."""
        self.names.enter()
        lines = self.statements(inner["query"]["stmts"])
        before: Before = []
        if kind == "ObjectCompr":
            head = f"{self.head(inner['key'], before)}: {self.head(inner['value'], before)}"
        else:
            head = self.head(inner["term"], before)
        self.names.leave()
        opening, closing = COMPREHENSIONS[kind]
        return f"{opening}{head} | {'; '.join([*lines, *before]) or 'true'}{closing}"

    def head(self, node: Node, before: Before) -> str:
        """Return the value of a rule or comprehension, evaluated as the last statement of its body."""
        if self.is_ground(node) or self.is_local(node):
            return self.positive(node, before)
        return self.hoisted(self.positive(node, before, nested=False), before)

    def reference(self, node: Node, index: Callable[[Node], str], before: Before) -> str:
        """Return a variable or a reference with its whole path."""
        links = [*chain(node)][::-1]
        first = links[0]["refr"] if links else node
        mark, place = self.mark(first), self.place(node)
        if "Var" not in first:
            text = self.hoisted(self.positive_apart(first, before), before)
            return text + "".join([self.link(link, index) for link in links])
        name = str(first["Var"]["value"])
        path = self.names.path(name)
        if path is None:
            return mark + self.names.local(name, place) + "".join([self.link(link, index) for link in links])
        known = list(path)
        for link in links:
            if (part := constant(link)) is None:
                break
            known.append(part)
        self.referenced(tuple(known), place, continues=len(known) < len(path) + len(links))
        return mark + dotted(path) + "".join([self.link(link, index) for link in links])

    def link(self, link: Node, index: Callable[[Node], str]) -> str:
        """Return one part of a reference."""
        part = constant(link)
        if part is None:
            self.check_index(link["index"])
        return f"[{index(link['index'])}]" if part is None else step(part)

    def check_index(self, node: Node) -> None:
        """Refuse a pattern as an index, or as an output of `walk`. Raises RefusedError."""
        if self.takes_apart(node):
            message = "an object with variables is not supported here. Use a variable, and match it in the next line"
            raise RefusedError(self.place(node), message)

    def scalar(self, kind: str, inner: Node) -> str:
        """Return a literal. Raises RefusedError for a number that may be rounded."""
        if kind == "Number":
            place = SourcePosition(self.file, inner["span"]["line"], inner["span"]["col"])
            return exact_number(place, self.source, inner)
        return json.dumps(inner["value"])

    def is_local(self, node: Node) -> bool:
        """Return whether a node is a local variable."""
        return "Var" in node and self.names.path(str(node["Var"]["value"])) is None

    def is_ground(self, node: Node) -> bool:
        """Return whether an expression is a constant."""
        ((kind, inner),) = node.items()
        if kind == "Object":
            return all(self.is_ground(key) and self.is_ground(value) for _, key, value in inner["fields"])
        return kind in SCALARS or (kind in ("Array", "Set") and all(map(self.is_ground, inner["items"])))
