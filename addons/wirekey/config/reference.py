"""Generates `wirekey.example.yaml` and `docs/reference/configuration.md` from the models.

`python -m wirekey.config.reference [FOLDER]`, where FOLDER is the checkout.
"""

from __future__ import annotations

import json
import sys
import textwrap
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from wirekey.config.effective import yaml_value
from wirekey.config.feature_settings import whole_config
from wirekey.config.group import settings_of
from wirekey.config.loading import KEY_VARIABLES
from wirekey.config.messages import groups_in
from wirekey.config.values import ValueFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

EXAMPLE_FILE = "wirekey.example.yaml"
REFERENCE_FILE = "docs/reference/configuration.md"
EXAMPLE_HEAD = """\
# The settings of Wirekey with their defaults. Copy what you want to change into wirekey.yaml.
# Lines that begin with `# ` and a setting are examples. The reference is docs/reference/configuration.md.
"""
REFERENCE_HEAD = f"""\
# Configuration

<!-- Generated from the models by `python -m wirekey.config.reference`. -->

Wirekey reads `wirekey.yaml` in the current folder, or the file that `--config` names (`--set wirekey=FILE` with \
mitmproxy). Without a file, the defaults are used. `wirekey config check` reports all problems with their lines. \
`wirekey config show` prints every setting in effect and its origin. [{EXAMPLE_FILE}](../../{EXAMPLE_FILE}) has all \
settings.

Wirekey applies a changed file within two seconds. If the file has problems, it reports them and keeps the previous \
configuration.

**Secrets** are never in the file. A setting that needs a secret has a reference to it:

| reference | the secret is |
|---|---|
| `env:NAME` | in an environment variable, or else in the `.env` file beside the configuration |
| `file:PATH` | the only line of a file |
| `keyring:SERVICE/NAME` | in the system's keyring; needs the Python package `keyring` |

**Settings from the environment.** A variable sets each setting that has a single value, with `__` between groups: \
`WIREKEY_LISTEN__GATEWAY=0.0.0.0:8000` sets `listen.gateway`, `WIREKEY_LOG__LEVEL=DEBUG` sets `log.level`. Variables \
may also be in `.env`. They take precedence over the file. Lists and routes are set in the file only.

**Several keys in one variable.** Where a list of keys has `env:NAME`, the variable may have several keys with commas \
between them.

**Keys without configuration.** If the file does not set a provider's keys, Wirekey uses these variables if they are \
set:

"""
REFERENCE_VALUES = """
**Values.** Relative paths start at the folder of the configuration file, also in `file:` references. Sizes are \
numbers of bytes or texts such as `64MiB`. Times are seconds. `null` resets an optional setting to its default.
"""


def reference() -> str:
    """Return the reference page in Markdown."""
    rows = [f"| {name} | {' or '.join(f'`{v}`' for v in variables)} |" for name, variables in KEY_VARIABLES.items()]
    keys = "\n".join(["| provider | variable |", "|---|---|", *rows, ""])
    sections = [section(title, models) for title, models in groups(whole_config(), "")]
    return REFERENCE_HEAD + keys + REFERENCE_VALUES + "".join(sections)


def groups(model: type[BaseModel], key: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield (heading, model) for each model below `model`, once."""
    found: dict[type[BaseModel], list[str]] = {}
    waiting = [(key, model)]
    while waiting:
        key, model = waiting.pop(0)
        found.setdefault(model, []).append(key)
        inner = []
        for name, _, field in settings_of(model):
            mark = "[]" if "tuple" in str(field.annotation) else ""
            inner += [(f"{key}.{name}{mark}".lstrip("."), part) for part in groups_in(field.annotation)]
        waiting = inner + waiting
    for group, keys in found.items():
        yield ", ".join(f"`{key}`" for key in keys if key) or "All", group


def section(title: str, model: type[BaseModel]) -> str:
    """Return the section of one model, with a table of its settings."""
    head = f"\n## {title}\n\n| setting | value | default | |\n|---|---|---|---|\n"
    return head + "".join(row(name, field) for name, _, field in settings_of(model))


def row(name: str, field: FieldInfo) -> str:
    """Return the table row of one setting."""
    grouped = any(groups_in(field.annotation))
    if field.is_required():
        default = "required"
    else:
        default = "" if isinstance(field.default, BaseModel) else f"`{flow(yaml_value(field.default))}`"
    kind = " or ".join([*(["settings below"] if grouped else []), *kinds(field)])
    if "tuple" in str(field.annotation) and typing.get_origin(field.annotation) is not dict:
        kind = f"list: {kind}"
    return f"| `{name}` | {kind} | {default} | {field.description} |\n"


def kinds(field: FieldInfo) -> list[str]:
    """Return descriptions of the values that a field accepts."""
    named = [part.text for part in field.metadata if isinstance(part, ValueFormat)]
    return named or [*dict.fromkeys(kinds_in(field.annotation))]


def kinds_in(annotation: Any) -> Iterator[str]:
    """Yield descriptions of the values that an annotation accepts."""
    if typing.get_origin(annotation) is typing.Literal:
        yield " \\| ".join(typing.get_args(annotation))
    elif named := [part.text for part in getattr(annotation, "__metadata__", ()) if isinstance(part, ValueFormat)]:
        yield from named
    else:
        for part in typing.get_args(annotation):
            yield from kinds_in(part)


def example() -> str:
    """Return the example file: all defaults with their descriptions, and examples as comments."""
    return EXAMPLE_HEAD + "\n".join(example_lines(whole_config()(), "", set())) + "\n"


def example_lines(group: BaseModel, key: str, described: set[tuple[type[BaseModel], str]]) -> Iterator[str]:
    """Yield the lines of one group. `described` are the settings whose description was already written."""
    indent = "  " * (key.count(".") + 1 if key else 0)
    for name, _, field in settings_of(type(group)):
        if not key:
            yield ""
        if (type(group), name) not in described:
            described.add((type(group), name))
            width = 110 - len(indent)
            yield from (f"{indent}## {line}" for line in textwrap.wrap(field.description or "", width))
        value = field.default
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from example_lines(value, f"{key}.{name}".lstrip("."), described)
            continue
        usual = KEY_VARIABLES.get(key.rpartition(".")[2]) if name == "keys" else None
        if not usual:  # an empty list would disable the usual variable
            yield f"{indent}{name}: {flow(yaml_value(value))}"
        for sample in [[f"env:{usual[0]}"]] if usual else field.examples or []:
            yield from (f"{indent}# {line}" for line in block(name, sample))


def block(name: str, sample: Any) -> list[str]:
    """Return the lines of an example value."""
    if isinstance(sample, list) and isinstance(sample[0], dict):
        return [f"{name}:", *(f"  - {flow(item)}" for item in sample)]
    return [f"{name}: {flow(sample)}"]


def flow(value: Any) -> str:
    """Return a value in YAML's flow style, with quotes only if they are needed."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and not any(character in value for character in "*?[]{},#'\""):
        return value
    return json.dumps(value)


def main() -> None:
    """Write both files into the checkout."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for name, text in ((EXAMPLE_FILE, example()), (REFERENCE_FILE, reference())):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
