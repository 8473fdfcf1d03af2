"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Grouping(click.Choice[str]):
    """A choice of groups of calls, or `label:NAME`."""

    name = "group"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a valid value. Raises click.BadParameter."""
        from wirekey.core.labels import NAME, OF_LABEL

        if str(value).startswith(OF_LABEL) and NAME.fullmatch(value.removeprefix(OF_LABEL)):
            return str(value)
        return super().convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the form of the values."""
        return f"[{'|'.join(map(str, self.choices))}|label:NAME]"


def labels_of(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Return labels given as NAME=VALUE, by name. An empty value is kept. Raises click.BadParameter."""
    found = dict(text.partition("=")[::2] for text in given if "=" in text)
    if len(found) != len(given):
        raise click.BadParameter("Each label is NAME=VALUE, such as team=search, and no name occurs twice.")
    return found


def config_option[F: Callable[..., Any]](function: F) -> F:
    """Add `--config F`, which reaches the command as `config_file: Path | None`."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        default=None,
        metavar="FILE",
        help="Configuration file. Default: ./wirekey.yaml if it exists.",
    )(function)


def with_config[R](function: Callable[..., R]) -> Callable[..., R]:
    """Add `--config F` and pass the loaded configuration to the command as `config`."""

    @functools.wraps(function)
    def command(*arguments: Any, config_file: Path | None, **options: Any) -> R:
        from wirekey.config import load

        return function(*arguments, config=load(config_file, os.environ), **options)

    return config_option(command)
