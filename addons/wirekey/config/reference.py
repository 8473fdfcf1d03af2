"""Writes `wirekey.example.yaml` and `docs/reference/configuration.md` from the models.

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

from wirekey.config.effective import plain
from wirekey.config.loading import USUAL_VARIABLES
from wirekey.config.messages import models_in
from wirekey.config.models import Config
from wirekey.config.unimplemented import UNBUILT
from wirekey.config.values import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

EXAMPLE_FILE = "wirekey.example.yaml"
REFERENCE_FILE = "docs/reference/configuration.md"
EXAMPLE_HEAD = """\
# Wirekey's settings. Each stands here with its default: copy what you want to change into wirekey.yaml.
# Lines that begin with `# ` and a setting are examples; the reference is docs/reference/configuration.md.
"""
REFERENCE_HEAD = f"""\
# Configuration

<!-- Made from the models by `python -m wirekey.config.reference`; a test compares. -->

Wirekey reads `wirekey.yaml` of the current folder, or the file named by `--config` (`--set wirekey=FILE` under \
mitmproxy). Without either, the defaults hold. `wirekey config check` says everything that is wrong, with the line; \
`wirekey config show` prints every setting in effect and where it comes from. [{EXAMPLE_FILE}](../../{EXAMPLE_FILE}) \
has them all.

A changed file is in use within two seconds. A bad one is reported, and the former stays in use.

**Secrets** never stand in the file. A setting that needs one takes a reference:

| reference | where the secret is |
|---|---|
| `env:NAME` | in the environment variable, or in the `.env` file beside the configuration; the environment wins |
| `file:PATH` | in the file, alone |
| `keyring:SERVICE/NAME` | in the system's keyring; needs the Python package `keyring` |

**Keys without configuration.** Where the file says nothing about a provider's keys, these variables are used if \
they are set:

"""
REFERENCE_VALUES = """
**Values.** Relative paths start at the folder of the configuration file (`file:` references, too). Sizes are bytes \
or texts such as `64MiB`; times are seconds. `null` takes a setting that may be absent back.
"""
REFERENCE_UNBUILT = """
**Not in effect yet.** These settings are checked, but this version does not act on them. `config check` says so to \
whoever sets one, and `serve` refuses to start, as calls \
would go out that should not, or otherwise than they should:

"""


def reference() -> str:
    """Give the reference page, in Markdown."""
    rows = [f"| {name} | {' or '.join(f'`{v}`' for v in variables)} |" for name, variables in USUAL_VARIABLES.items()]
    keys = "\n".join(["| provider | variable |", "|---|---|", *rows, ""])
    sections = [section(title, models) for title, models in groups(Config, "")]
    unimplemented_settings = "".join(f"- `{names}` {message}\n" for _, names, message in UNBUILT)
    return REFERENCE_HEAD + keys + REFERENCE_VALUES + REFERENCE_UNBUILT + unimplemented_settings + "".join(sections)


def groups(model: type[BaseModel], key: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Give (heading, group of settings), each kind of group once."""
    found: dict[type[BaseModel], list[str]] = {}
    waiting = [(key, model)]
    while waiting:
        key, model = waiting.pop(0)
        found.setdefault(model, []).append(key)
        inner = []
        for name, field in model.model_fields.items():
            mark = "[]" if "tuple" in str(field.annotation) else ""
            inner += [(f"{key}.{name}{mark}".lstrip("."), part) for part in models_in(field.annotation)]
        waiting = inner + waiting
    for group, keys in found.items():
        yield ", ".join(f"`{key}`" for key in keys if key) or "All", group


def section(title: str, model: type[BaseModel]) -> str:
    head = f"\n## {title}\n\n| setting | value | default | |\n|---|---|---|---|\n"
    return head + "".join(row(name, field) for name, field in model.model_fields.items())


def row(name: str, field: FieldInfo) -> str:
    grouped = any(models_in(field.annotation))
    if field.is_required():
        default = "needed"
    else:
        default = "" if isinstance(field.default, BaseModel) else f"`{flow(plain(field.default))}`"
    kind = " or ".join([*(["settings below"] if grouped else []), *kinds(field)])
    if "tuple" in str(field.annotation):
        kind = f"list: {kind}"
    return f"| `{name}` | {kind} | {default} | {field.description} |\n"


def kinds(field: FieldInfo) -> list[str]:
    """Describe the values that a field takes."""
    named = [part.text for part in field.metadata if isinstance(part, Kind)]
    return named or [*dict.fromkeys(kinds_in(field.annotation))]


def kinds_in(annotation: Any) -> Iterator[str]:
    if typing.get_origin(annotation) is typing.Literal:
        yield " \\| ".join(typing.get_args(annotation))
    elif named := [part.text for part in getattr(annotation, "__metadata__", ()) if isinstance(part, Kind)]:
        yield from named
    else:
        for part in typing.get_args(annotation):
            yield from kinds_in(part)


def example() -> str:
    """Give the example file: all defaults, each with its description, and examples in comments."""
    return EXAMPLE_HEAD + "\n".join(example_lines(Config(), "", set())) + "\n"


def example_lines(group: BaseModel, key: str, told: set[tuple[type[BaseModel], str]]) -> Iterator[str]:
    indent = "  " * (key.count(".") + 1 if key else 0)
    for name, field in type(group).model_fields.items():
        if not key:
            yield ""
        if (type(group), name) not in told:
            told.add((type(group), name))
            width = 110 - len(indent)
            yield from (f"{indent}## {line}" for line in textwrap.wrap(field.description or "", width))
        value = field.default
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from example_lines(value, f"{key}.{name}".lstrip("."), told)
            continue
        usual = USUAL_VARIABLES.get(key.rpartition(".")[2]) if name == "keys" else None
        if not usual:  # an empty list would keep the usual variable from being used
            yield f"{indent}{name}: {flow(plain(value))}"
        for sample in [[f"env:{usual[0]}"]] if usual else field.examples or []:
            yield from (f"{indent}# {line}" for line in block(name, sample))


def block(name: str, sample: Any) -> list[str]:
    if isinstance(sample, list) and isinstance(sample[0], dict):
        return [f"{name}:", *(f"  - {flow(item)}" for item in sample)]
    return [f"{name}: {flow(sample)}"]


def flow(value: Any) -> str:
    """Write a value in YAML's flow style, with quotes only where they are needed."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and not any(character in value for character in "*?[]{},#'\""):
        return value
    return json.dumps(value)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for name, text in ((EXAMPLE_FILE, example()), (REFERENCE_FILE, reference())):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
