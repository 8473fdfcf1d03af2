"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config import Config

USED_WRONG = 2


def config_option[F: Callable[..., Any]](function: F) -> F:
    """Add `--config F`, which reaches the command as `config_file: Path | None`."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        default=None,
        metavar="FILE",
        help="Configuration file; ./wirekey.yaml if there is one.",
    )(function)


def with_config[R](function: Callable[..., R]) -> Callable[..., R]:
    """Add `--config F` and hand the command the loaded `config`; a bad one ends the program with exit code 2."""

    @functools.wraps(function)
    def command(*arguments: Any, config_file: Path | None, **options: Any) -> R:
        return function(*arguments, config=load_or_exit(config_file), **options)

    return config_option(command)


def load_or_exit(path: Path | None) -> Config:
    from wirekey.config import ConfigError, load

    try:
        return load(path, os.environ)
    except ConfigError as error:
        click.echo(problem_list(error), err=True)
        raise SystemExit(USED_WRONG) from None


def problem_list(error: Exception) -> str:
    """Give a ConfigError's problems, one a line."""
    return f"wirekey: the configuration cannot be used:\n{'\n'.join(f'  {line}' for line in str(error).splitlines())}"
