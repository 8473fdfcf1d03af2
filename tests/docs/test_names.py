"""Names in the code are the field's words, and a class name stands for one thing."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
METAPHORS = """
anew besides desk entrance face former furnish glean gleaned house houses judge judges judging lend lending lent
meanwhile passage passages phrasing rests roster seal sealed sealing spoke spoken standin station stations
steady tells told unheard vain visit visits welcome withheld
"""
PHRASES = """
aim_at at_home goes_again goes_fresh has_another_way has_awake in_all in_vain keep_going not_again open_house
per_attempt phrase_in_stream resting resting_until
"""


def words(name: str) -> list[str]:
    """Return the words of a name in snake case, camel case or capitals, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def names(tree: ast.AST):
    """Yield each name that a module defines, and its line."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, node.lineno
            case ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno


def modules():
    """Yield each module of the product and the simulator: its path and its tree."""
    for file in sorted((ROOT / "addons").rglob("*.py")):
        yield file, ast.parse(file.read_text())


def is_metaphor(name: str) -> bool:
    """Return whether a name has a word, or is a phrase, that is not the field's."""
    return not set(words(name)).isdisjoint(METAPHORS.split()) or name.strip("_").lower() in PHRASES.split()


def test_no_name_is_a_metaphor():
    found = []
    for file, tree in modules():
        place = file.relative_to(ROOT)
        found += [f"{place}: {part}" for part in place.with_suffix("").parts if is_metaphor(part)]
        found += [f"{place}:{line}: {name}" for name, line in names(tree) if is_metaphor(name)]
    assert not found, "\n".join(found)


def test_a_class_name_stands_for_one_thing():
    """Names that begin with an underscore are of one module only."""
    places = defaultdict(list)
    for file, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{file.relative_to(ROOT)}:{node.lineno}")
    found = {name: found for name, found in places.items() if len(found) > 1}
    assert not found, found


def test_a_name_is_taken_apart_into_its_words():
    assert words("PassageOf_HTTPHouse2") == ["passage", "of", "http", "house", "2"]
    assert is_metaphor("open_house")
    assert is_metaphor("AnswerDesk")
    assert is_metaphor("_resting_until")
    assert not is_metaphor("response")
    assert not is_metaphor("restart")
