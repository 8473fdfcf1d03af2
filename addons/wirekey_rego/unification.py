"""Rewrites patterns. OPA matches an object only with all its keys, the engine also with some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wirekey_rego.builtins import WRAPPERS
from wirekey_rego.expressions import SCALARS, Expressions
from wirekey_rego.names import RefusedError

if TYPE_CHECKING:
    from wirekey_rego.expressions import Before
    from wirekey_rego.syntax import Node


class Unification(Expressions):
    """Prints patterns and equations. An object in one becomes a variable with conditions. Raises RefusedError."""

    def pattern(self, node: Node, after: Before, *, by_some: bool = False) -> str:
        """Return a pattern, all of whose variables are declared. `after`: further conditions."""
        ((kind, inner),) = node.items()
        if kind == "Var":
            return self.mark(node) + self.names.declare(str(inner["value"]), self.place(node), by_some=by_some)
        if kind == "Array":
            return f"[{', '.join([self.pattern(each, after, by_some=by_some) for each in inner['items']])}]"
        if self.is_ground(node):
            if kind in ("Array", "Object"):
                name = self.names.fresh()
                after.append(f"{name} == {self.positive(node, [])}")
                return name
            return self.positive(node, [])
        if kind == "Object":
            name = self.names.fresh()
            fields = self.fields(inner["fields"])
            after.append(sized(name, fields))
            for key, value in fields:
                below: Before = []
                shown = self.pattern(value, below, by_some=by_some)
                after += [f"{self.names.fresh() if shown.endswith('_') else shown} := {name}[{key}]", *below]
            return name
        raise RefusedError(
            self.place(node), "only variables, constants, and arrays and objects of them are supported here"
        )

    def equation(self, left: Node, right: Node, before: Before) -> list[str]:
        """Return the statements that `left = right` becomes."""
        if not self.takes_apart(left):
            if not self.takes_apart(right):
                return [f"{self.positive(left, before)} = {self.positive(right, before)}"]
            left, right = right, left
        if "Object" in left and "Object" in right:
            ours, theirs = dict(self.fields(left["Object"]["fields"])), dict(self.fields(right["Object"]["fields"]))
            if ours.keys() != theirs.keys():
                raise RefusedError(self.place(left), "these objects have different keys, so they are never equal")
            return [line for key in ours for line in self.equation(ours[key], theirs[key], before)]
        if "Array" in left and "Array" in right:
            pairs = [*zip(left["Array"]["items"], right["Array"]["items"], strict=False)]
            if len(left["Array"]["items"]) != len(right["Array"]["items"]):
                raise RefusedError(self.place(left), "these arrays have different lengths, so they are never equal")
            return [line for ours, theirs in pairs for line in self.equation(ours, theirs, before)]
        if self.is_local(right) and not self.is_bound(right) and all(map(self.is_known, variables(left))):
            name = self.names.fresh()
            return [f"{name} := {self.positive(left, before)}", f"{self.positive(right, before)} = {name}"]
        name = self.names.fresh()
        return [f"{name} := {self.positive(right, before)}", *self.parts(left, name, before)]

    def parts(self, node: Node, value: str, before: Before) -> list[str]:
        """Return the statements that match a value with an expression."""
        ((kind, inner),) = node.items()
        if kind == "Var" and inner["value"] == "_":
            return [f"{self.names.fresh()} := {value}"]
        if kind == "Object":
            fields = self.fields(inner["fields"])
            lines = [sized(value, fields)]
            for key, item in fields:
                lines += self.parts(item, f"{value}[{key}]", before)
            return lines
        if kind == "Array" and self.takes_apart(node):
            shown, below = [], []
            for item in inner["items"]:
                if self.takes_apart(item):
                    shown.append(self.names.fresh())
                    below += self.parts(item, shown[-1], before)
                else:
                    shown.append(self.positive(item, before))
            return [f"[{', '.join(shown)}] = {value}", *below]
        return [f"{self.positive(node, before)} = {value}"]

    def fields(self, fields: list[tuple[Any, Node, Node]]) -> list[tuple[str, Node]]:
        """Return the constant keys of an object with their values. Raises RefusedError."""
        found = []
        for _, key, value in fields:
            ((kind, inner),) = key.items()
            if kind not in SCALARS:
                raise RefusedError(self.place(key), "the key is computed. Write it as a string, or assign it first")
            found.append((self.scalar(kind, inner), value))
        return found

    def takes_apart(self, node: Node, *, within: bool = False) -> bool:
        """Return whether an expression has an object with variables that it may bind."""
        if "Object" in node:
            return any(self.takes_apart(value, within=True) for _, _, value in node["Object"]["fields"])
        if "Array" in node:
            return any(self.takes_apart(item, within=within) for item in node["Array"]["items"])
        return within and self.is_local(node) and not self.is_bound(node)

    def is_bound(self, node: Node) -> bool:
        """Return whether a variable's declaration gives it a value."""
        name = str(node["Var"]["value"])
        return self.names.is_declared(name) and self.names.frame.find(name) not in self.names.open

    def is_known(self, name: str) -> bool:
        """Return whether a statement before this one mentions a variable."""
        frame = self.names.frame
        return frame.find(name) in frame.bound | frame.outer()


def sized(value: str, fields: list[tuple[str, Node]]) -> str:
    """Return the condition that a value is an object with as many keys."""
    return f"data.{WRAPPERS}.sized({value}, {len({key for key, _ in fields})})"


def variables(node: Node) -> list[str]:
    """Return the variables among the values of an object or array."""
    if "Object" in node:
        return [name for _, _, value in node["Object"]["fields"] for name in variables(value)]
    if "Array" in node:
        return [name for item in node["Array"]["items"] for name in variables(item)]
    return [str(node["Var"]["value"])] if "Var" in node else []
