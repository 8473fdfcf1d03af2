"""wirekey config: check and show the configuration."""

from __future__ import annotations

import json
import os
import sys
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.options import config_option, with_config

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wirekey.config import Config, Problem


@click.group("config")
def command() -> None:
    """Check and show the configuration."""


@command.command("check")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def check(config_file: Path | None, *, as_json: bool) -> None:
    """Check the configuration, and the secrets and functions that it refers to. The exit code is 1 on a problem.

    Problems are also: routes that never match, circular fallbacks, and files that other users can change.
    Files that other users can read get a warning.
    """
    from wirekey.config import (
        ConfigError,
        FileAccess,
        Problem,
        file_access,
        function_problems,
        load,
        route_warnings,
        secret_problems,
    )
    from wirekey.config.terms import terms_of_features
    from wirekey.server.installation import read_masters

    access = FileAccess()
    try:
        config = load(config_file, os.environ)
        access = file_access(config)
        problems = [
            *access.refused,
            *secret_problems(config),
            *function_problems(config),
            *route_warnings(config),
        ]
        problems += [found for found in read_masters(config) if isinstance(found, Problem) and found not in problems]
    except ConfigError as error:
        problems = error.problems
    if as_json:
        warnings = {"warnings": as_objects(access.warnings)} if access.warnings else {}
        said = {} if problems else lines_of_features(config)
        notes = {"terms": lines} if not problems and (lines := list(terms_of_features(config))) else {}
        found = {"ok": not problems, "problems": as_objects(problems), **warnings, **said, **notes}
        click.echo(json.dumps(found, indent=2))
    elif problems:
        click.echo(ConfigError(problems).report(), err=True)
    else:
        click.echo(f"{config.source or 'the defaults, as there is no wirekey.yaml'}: no problems")
        for line in (*chain(*lines_of_features(config).values()), *terms_of_features(config)):
            click.echo(line)
    if not as_json:
        for warning in access.warnings:
            click.echo(f"wirekey: warning: {warning}", err=True)
    sys.exit(1 if problems else 0)


def lines_of_features(config: Config) -> dict[str, Sequence[str]]:
    """Return what features say of a configuration without a problem: name in the JSON → lines, if there are any."""
    from wirekey.cli.config_checks import ConfigChecks
    from wirekey.feature_registry import parts

    return {part.name: lines for part in parts(ConfigChecks) if (lines := part.lines(config))}


def as_objects(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return problems as JSON values."""
    return [{"file": p.file and str(p.file), "line": p.line, "key": p.key, "message": p.message} for p in problems]


@command.command("show")
@with_config
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: setting → value and source.")
def show(config: Config, *, as_json: bool) -> None:
    """Show every setting with its value and source. Secrets are shown as references."""
    from wirekey.config.effective import effective_settings

    rows = effective_settings(config)
    if as_json:
        click.echo(json.dumps({row.key: {"value": row.value, "source": row.source} for row in rows}, indent=2))
        return
    width = max(len(row.key) for row in rows)
    values = [written(row.value) for row in rows]
    value_width = max(len(value) for value in values)
    for row, value in zip(rows, values, strict=True):
        click.echo(f"{row.key:<{width}}  {value:<{value_width}}  {row.source}")


def written(value: Any) -> str:
    """Return a value as it is written in the configuration file."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
