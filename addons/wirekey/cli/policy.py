"""wirekey policy: check and evaluate policies, and replay recorded calls."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.moments import moment
from wirekey.cli.options import with_config
from wirekey.cli.table import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config import Config
    from wirekey.core.policy.modules import Modules, PolicyProblem

HEAD = ("AGENT", "MODEL", "THEN", "NOW", "CALLS", "REASON")


NOT_LOADED = "Wirekey does not load this policy. If it runs, the previous policy decides calls. It cannot start."


@click.group("policy")
def command() -> None:
    """Check and evaluate policies, and replay recorded calls."""


def with_policy[R](function: Callable[..., R]) -> Callable[..., R]:
    """Add `--policy` and `--query`. Their defaults come from the configuration."""
    for option in (
        click.option("--query", default=None, metavar="PATH", help="The package that decides: data.wirekey.authz."),
        click.option("--policy", "folder", type=click.Path(path_type=Path), default=None, help="Folder of the policy."),
    ):
        function = option(function)
    return function


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@command.command("check")
@with_config
@with_policy
@as_json_option
def check(config: Config, folder: Path | None, query: str | None, *, as_json: bool) -> None:
    """Compile and try the policy, and find fields that do not exist. The exit code is 1 if there is a problem."""
    from wirekey.core.policy.lint import lint
    from wirekey.core.policy.modules import PolicyError, read_modules
    from wirekey.core.policy.rego import Rego
    from wirekey.core.policy.samples import SAMPLES
    from wirekey.core.policy.worker import PolicyWorker

    path, package = chosen(config, folder, query)
    problems: list[PolicyProblem] = []
    loads, revision = True, None
    try:
        modules = read_modules(path)
        revision = modules.revision
        PolicyWorker(modules, package, SAMPLES, 1.0).end()
        problems += lint(Rego(modules, package).syntax, package)
    except PolicyError as error:
        problems += error.problems
        loads = False
    if as_json:
        found = [dataclasses.asdict(problem) for problem in problems]
        click.echo(json.dumps({"ok": not found, "revision": revision, "query": package, "problems": found}, indent=2))
    elif problems:
        for problem in problems:
            click.echo(str(problem), err=True)
        if not loads:
            click.echo(NOT_LOADED, err=True)
    else:
        click.echo(f"{path}: no problems, revision {revision}, query {package}")
    sys.exit(1 if problems else 0)


@command.command("eval")
@with_config
@with_policy
@click.option("--input", "source", type=click.File("rb"), required=True, metavar="FILE", help="The input. - is stdin.")
@as_json_option
def evaluate(config: Config, folder: Path | None, query: str | None, source: Any, *, as_json: bool) -> None:
    """Print what the policy decides about one input, and which rules matched. The exit code is 1 for a denial.

    The input is JSON as in docs/reference/policy-input.md. Fields that the file leaves out are unknown.
    """
    from wirekey.core.policy.explanation import matching_rules
    from wirekey.core.policy.modules import read_modules
    from wirekey.core.policy.rego import Rego
    from wirekey.core.policy.replay import evaluate_call

    path, package = chosen(config, folder, query)
    given = read_input(source)
    modules = read_modules(path)
    try_in_worker(modules, package, given)
    policy = Rego(modules, package)
    decision = evaluate_call(policy, given, needs_allow="allow" in policy.syntax.rule_names(package))
    rules = matching_rules(modules, package, json.dumps(given).encode())
    if as_json:
        result = dataclasses.asdict(decision) | {
            "revision": modules.revision,
            "rules": [dataclasses.asdict(rule) for rule in rules],
        }
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo("allow" if decision.allow else f"deny: {decision.failure or ' '.join(decision.reasons)}")
        for name in ("model", "max_tokens"):
            if (value := getattr(decision, name)) is not None:
                click.echo(f"  {name}: {value}")
        for rule in rules:
            click.echo(f"  {rule.file}:{rule.line}: {rule.text}")
        if not rules:
            click.echo("  no rule matched")
    sys.exit(0 if decision.allow else 1)


@command.command("replay")
@with_config
@with_policy
@click.option(
    "--since", callback=moment, default="7d", show_default=True, help="Only calls since: 15m, 2h, 7d (ago) or a date."
)
@as_json_option
def replay_calls(config: Config, folder: Path | None, query: str | None, since: float, *, as_json: bool) -> None:
    """Print what the policy would have decided about recorded calls. The exit code is 1 if a decision changes.

    The names of tools and headers are not recorded. Permissions are those of now.
    """
    from wirekey.core.audit.filters import Filters
    from wirekey.core.audit.reading import events
    from wirekey.core.policy.modules import read_modules
    from wirekey.core.policy.rego import Rego
    from wirekey.core.policy.replay import replay, unrecorded_fields
    from wirekey.server.audit_store import audit_database

    path, package = chosen(config, folder, query)
    policy = Rego(read_modules(path), package)
    with audit_database(config).reading() as database:
        outcome = replay(events(database, Filters(since=since)), policy, package, permissions(config))
    unsure = unrecorded_fields(policy)
    if as_json:
        result = dataclasses.asdict(outcome) | {"not_recorded": unsure}
        click.echo(json.dumps(result, indent=2))
    else:
        if outcome.changes:
            rows = [(c.agent or "-", c.model or "-", c.then, c.now, str(c.calls), c.reason) for c in outcome.changes]
            click.echo(table(HEAD, rows, right=(4,)))
        changed = sum(change.calls for change in outcome.changes)
        click.echo(f"{outcome.evaluated} calls replayed, {changed} changed, {outcome.left_out} left out.")
        for failure, calls in outcome.undecided.most_common(5):
            click.echo(f"{calls} could not be decided: {failure}", err=True)
        if unsure:
            click.echo(f"The policy reads fields that are not recorded: {', '.join(unsure)}.", err=True)
    sys.exit(1 if outcome.changes else 0)


def chosen(config: Config, folder: Path | None, query: str | None) -> tuple[Path, str]:
    """Return the folder and the query: those of the options, or the configured ones."""
    setting = config.effective_policy
    return folder or setting.path, query or setting.query


def read_input(source: Any) -> dict[str, Any]:
    """Read an input from a JSON file. Raises UsageError."""
    try:
        given = json.load(source)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"The input is not valid JSON: {error}.") from None
    if not isinstance(given, dict):
        raise click.UsageError("The input is not a JSON object.")
    # OPA's `eval` takes the input itself, its Data API an object with the field `input`.
    return given["input"] if list(given) == ["input"] and isinstance(given["input"], dict) else given


def try_in_worker(modules: Modules, query: str, given: dict[str, Any]) -> None:
    """Evaluate the policy in a separate process, so that an endless loop ends in PolicyError."""
    from wirekey.core.policy.worker import PolicyWorker

    PolicyWorker(modules, query, [json.dumps(given).encode()], 1.0).end()


def permissions(config: Config) -> Callable[[str], list[str]]:
    """Return a function from agent name to its permissions now. Unknown agents have the default permissions."""
    from wirekey.core.permissions import DEFAULT
    from wirekey.server.installation import agent_store

    agents = agent_store(config)
    known = {record.id: record.permissions for record in agents.agents()}
    return lambda agent: list(DEFAULT if (found := known.get(agent)) is None else found)
