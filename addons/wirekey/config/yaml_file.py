"""Reads YAML into plain data, with the line of each setting, and explains YAML errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from wirekey.config.problems import ConfigError, Problem
from wirekey.config.secrets import looks_like_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

YAML_HINTS = (
    ("'\\t'", "there is a tab in the indentation. Indent with spaces"),
    ("mapping values are not allowed", "there is a second `: `. Put a value that contains one in quotes"),
    ("could not find expected ':'", "a setting has no colon. Write `name: value`"),
    (
        "expected <block end>",
        "the indentation does not match the lines above. Align it, or quote the whole value",
    ),
    ("found unexpected end of stream", "a quote is not closed. Close it"),
    ("expected ',' or '}'", "a `{` is not closed, or a comma is missing"),
    ("expected ',' or ']'", "a `[` is not closed, or a comma is missing"),
    ("expected a single document", "there is a second document (`---`). Keep only one"),
    ("undefined alias", "`*` starts an alias in YAML, and the alias is not defined. Put the value in quotes"),
    ("cannot start any token", "a value starts with a character that YAML reserves. Put it in quotes"),
    (
        "could not determine a constructor",
        "`!` starts a type in YAML, and the type is not defined. Put the value in quotes",
    ),
)


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A document that was read. `data` is plain Python, `lines` is dotted setting → line, counted from 1."""

    data: Any
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_yaml(text: str, path: Path) -> YamlDocument:
    """Return the document of a text. An empty text is an empty mapping. Raises ConfigError if it is not valid YAML."""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
        reader = YAML(typ="safe", pure=True)
        reader.allow_duplicate_keys = True  # found below, all of them, without their values
        data = reader.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError([Problem(path, mark.line + 1 if mark else None, "", yaml_message(error))]) from None
    except (YAMLError, ValueError):
        message = "is not valid YAML: it contains a control character"
        raise ConfigError([Problem(path, None, "", message)]) from None
    except RecursionError:
        raise ConfigError([Problem(path, None, "", "is nested too deeply")]) from None
    if data is None:
        return YamlDocument({})
    if not isinstance(data, dict):
        message = "must contain settings such as `listen: …`, one per line"
        raise ConfigError([Problem(path, 1, "", message)])
    lines: dict[str, int] = {}
    problems = []
    for key, child, repeated in settings(node, "", set()):
        line = child.start_mark.line + 1
        if repeated:
            problems.append(Problem(path, line, key, f"occurs twice, first in line {lines[key]}. Keep one of them"))
        lines[key] = line
    return YamlDocument(data, lines, problems)


def yaml_message(error: MarkedYAMLError) -> str:
    """Return the explanation of a parser error. It contains no text of the file."""
    reported = f"{error.context or ''} {error.problem or ''}"
    return next(
        (hint for sign, hint in YAML_HINTS if sign in reported),
        "this is not valid YAML. Check quotes, colons and indentation",
    )


def settings(node: Node | None, key: str, walked: set[int]) -> Iterator[tuple[str, Node, bool]]:
    """Yield (dotted setting, its first node, whether its mapping has it twice) for the whole document.

    The target of an alias is visited once: aliases can make a small file endless.
    """
    if id(node) in walked:
        return
    walked.add(id(node))
    if isinstance(node, MappingNode):
        seen = set()
        for name, value in node.value:
            inner = f"{key}.{shown_name(name)}".lstrip(".")
            yield inner, name, inner in seen
            seen.add(inner)
            yield from settings(value, inner, walked)
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield f"{key}[{index}]", item, False
            yield from settings(item, f"{key}[{index}]", walked)


def shown_name(node: Node) -> str:
    """Return the name of a setting, or `…` if it looks like a secret to the left of a colon."""
    name = node.value if isinstance(node, ScalarNode) else "?"
    return "…" if looks_like_key(name) else name
