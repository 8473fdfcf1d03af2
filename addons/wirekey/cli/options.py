"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wirekey.config import Config, Problem

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
        config = load_or_exit(config_file)
        return function(*arguments, config=config, **options)

    return config_option(command)


def load_or_exit(path: Path | None) -> Config:
    from wirekey.config import ConfigError, load

    try:
        return load(path, os.environ)
    except ConfigError as error:
        click.echo(problem_list(error.problems), err=True)
        raise SystemExit(USED_WRONG) from None


def problem_list(problems: Sequence[Problem]) -> str:
    """Give the problems, one a line."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"wirekey: {count} in the configuration:", *(f"  {problem}" for problem in problems)])
