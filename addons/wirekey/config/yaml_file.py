"""YAML to plain data, with the line of each setting, and its errors in words for people."""

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

HINTS = (
    ("'\\t'", "there is a tab where YAML wants spaces. Indent with spaces"),
    ("mapping values are not allowed", "there is one `: ` too many. Put a value that holds one into quotes"),
    ("could not find expected ':'", "a setting lacks its colon. Write `name: value`"),
    ("expected <block end>", "this does not fit the lines above. Align it with its siblings, or quote the whole value"),
    ("found unexpected end of stream", "a quote is not closed. Close it"),
    ("expected ',' or '}'", "a `{` is not closed, or a comma is missing"),
    ("expected ',' or ']'", "a `[` is not closed, or a comma is missing"),
    ("expected a single document", "there is a second document (`---`). Keep one"),
    ("undefined alias", "`*` begins an alias in YAML, and there is none of that name. Put the value into quotes"),
    ("cannot start any token", "a value begins with a character that YAML keeps for itself. Put it into quotes"),
    (
        "could not determine a constructor",
        "`!` begins a type in YAML, and there is none of that name. Put it into quotes",
    ),
)


@dataclass(frozen=True, slots=True)
class Document:
    """`data` is plain Python; `lines` gives each dotted setting its line, counted from 1."""

    data: Any
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_yaml(text: str, path: Path) -> Document:
    """Read one document; an empty one is an empty mapping. Raises ConfigError where it is no YAML."""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
        reader = YAML(typ="safe", pure=True)
        reader.allow_duplicate_keys = True  # found below, all of them, without their values
        data = reader.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError([Problem(path, mark.line + 1 if mark else None, "", message_text(error))]) from None
    except (YAMLError, ValueError):
        message = "is not YAML that can be read: there is a character that does not belong into a text file"
        raise ConfigError([Problem(path, None, "", message)]) from None
    except RecursionError:
        raise ConfigError([Problem(path, None, "", "is nested too deeply to be a configuration")]) from None
    if data is None:
        return Document({})
    if not isinstance(data, dict):
        message = "must hold settings, such as `listen: …`, one below the other"
        raise ConfigError([Problem(path, 1, "", message)])
    lines: dict[str, int] = {}
    problems = []
    for key, child, repeated in settings(node, "", set()):
        line = child.start_mark.line + 1
        if repeated:
            problems.append(Problem(path, line, key, f"stands twice, first in line {lines[key]}. Keep one"))
        lines[key] = line
    return Document(data, lines, problems)


def message_text(error: MarkedYAMLError) -> str:
    """Say what the parser means, without a word of the file."""
    said = f"{error.context or ''} {error.problem or ''}"
    return next(
        (hint for sign, hint in HINTS if sign in said), "this is not YAML. Check quotes, colons and indentation"
    )


def settings(node: Node | None, key: str, walked: set[int]) -> Iterator[tuple[str, Node, bool]]:
    """Walk the document: (dotted setting, the node that begins it, whether its mapping has it twice).

    What an alias repeats is walked once: aliases can make a small file endless.
    """
    if id(node) in walked:
        return
    walked.add(id(node))
    if isinstance(node, MappingNode):
        seen = set()
        for name, value in node.value:
            inner = f"{key}.{setting_name(name)}".lstrip(".")
            yield inner, name, inner in seen
            seen.add(inner)
            yield from settings(value, inner, walked)
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield f"{key}[{index}]", item, False
            yield from settings(item, f"{key}[{index}]", walked)


def setting_name(node: Node) -> str:
    """Give the name, unless it could be a secret that slipped to the left of a colon."""
    name = node.value if isinstance(node, ScalarNode) else "?"
    return "…" if looks_like_key(name) else name
