"""Small changes of a module's source, each of which some test should notice. Pure."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
}
REMOVED = (ast.Expr, ast.Raise, ast.Delete, ast.AugAssign, ast.Continue, ast.Break)
"""Statements that a mutant leaves out."""


@dataclass(frozen=True)
class Mutant:
    """A module's source with one change. `site` is the place of the change in the order of the syntax tree."""

    line: int
    change: str
    site: int


def mutants(source: str) -> list[Mutant]:
    """Return all mutants of a module."""
    return [Mutant(node.lineno, change, number) for number, (node, change, _) in enumerate(sites(ast.parse(source)))]


def mutated(source: str, site: int) -> str:
    """Return the source with the change of one site."""
    tree = ast.parse(source)
    for number, (node, _, replacement) in enumerate(sites(tree)):
        if number == site:
            return ast.unparse(ast.fix_missing_locations(Replacement(node, replacement).visit(tree)))
    raise IndexError(site)


class Replacement(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def sites(node: ast.AST) -> Iterator[tuple[ast.AST, str, ast.AST]]:
    """Yield (a node, what changes, the node in its place) below a node, in a fixed order."""
    if is_for_types(node):
        return
    yield from changes(node)
    for child in children(node):
        yield from sites(child)


def is_for_types(node: ast.AST) -> bool:
    """Return whether a node runs only in type checkers."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below a node that run: no annotation, no decorator, no docstring."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "bases", "keywords_of_class"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not (
                isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            ):
                yield child


def changes(node: ast.AST) -> Iterator[tuple[ast.AST, str, ast.AST]]:
    """Yield the changes of one node."""
    text = f"`{ast.unparse(node).partition(chr(10))[0][:70]}`" if isinstance(node, (ast.expr, ast.stmt)) else ""
    match node:
        case ast.Compare(ops=[operator, *_]) if type(operator) in COMPARISONS:
            new = copy.copy(node)
            new.ops = [COMPARISONS[type(operator)](), *node.ops[1:]]
            yield node, f"{text} becomes `{ast.unparse(new)[:70]}`", new
        case ast.BoolOp():
            new = copy.copy(node)
            new.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield node, f"{text} becomes `{ast.unparse(new)[:70]}`", new
        case ast.BinOp(op=operator) if type(operator) in OPERATORS:
            new = copy.copy(node)
            new.op = OPERATORS[type(operator)]()
            yield node, f"{text} becomes `{ast.unparse(new)[:70]}`", new
        case ast.UnaryOp(op=ast.Not()):
            yield node, f"{text} without not", node.operand
        case ast.If() | ast.IfExp() | ast.While():
            new = copy.copy(node)
            new.test = ast.UnaryOp(ast.Not(), node.test)
            yield node, f"{text} with the other condition", new
        case ast.Constant(value=bool()):
            yield node, f"{text} becomes `{not node.value}`", ast.copy_location(ast.Constant(not node.value), node)
        case ast.Constant(value=int() | float() as value):
            for other in (value + 1, value - 1):
                yield node, f"{text} becomes `{other}`", ast.copy_location(ast.Constant(other), node)
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield node, f"{text} returns None", ast.copy_location(ast.Return(ast.Constant(None)), node)
        case _ if isinstance(node, REMOVED):
            yield node, f"{text} is left out", ast.copy_location(ast.Pass(), node)
