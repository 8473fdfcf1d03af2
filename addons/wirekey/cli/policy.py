"""wirekey policy: is it right, what does it decide, and what would it have decided."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.audit_file import audit_file
from wirekey.cli.moments import moment
from wirekey.cli.options import with_config
from wirekey.cli.table import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config import Config
    from wirekey.policy.modules import Modules, PolicyProblem

HEAD = ("AGENT", "MODEL", "THEN", "NOW", "CALLS", "REASON")


@click.group("policy")
def command() -> None:
    """Check policies, ask them, and replay recorded calls."""


def with_policy[R](function: Callable[..., R]) -> Callable[..., R]:
    """Add `--policy` and `--query`; by default what the configuration says."""
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
    """Compile the policy and try it; find fields that there are not. Exit code 1 where something is wrong."""
    from wirekey.policy.lint import lint
    from wirekey.policy.modules import PolicyError, read_modules
    from wirekey.policy.rego import Rego
    from wirekey.policy.samples import SAMPLES
    from wirekey.policy.worker import PolicyWorker

    path, asked = chosen(config, folder, query)
    problems: list[PolicyProblem] = []
    revision = None
    try:
        modules = read_modules(path)
        revision = modules.revision
        PolicyWorker(modules, asked, SAMPLES, 1.0).end()
        problems += lint(Rego(modules, asked).syntax, asked)
    except PolicyError as error:
        problems += error.problems
    if as_json:
        found = [dataclasses.asdict(problem) for problem in problems]
        click.echo(json.dumps({"ok": not found, "revision": revision, "query": asked, "problems": found}, indent=2))
    elif problems:
        for problem in problems:
            click.echo(str(problem), err=True)
    else:
        click.echo(f"{path}: fine, revision {revision}, asked for {asked}")
    sys.exit(1 if problems else 0)


@command.command("eval")
@with_config
@with_policy
@click.option("--input", "source", type=click.File("rb"), required=True, metavar="FILE", help="The input; -: stdin.")
@as_json_option
def evaluate(config: Config, folder: Path | None, query: str | None, source: Any, *, as_json: bool) -> None:
    """Say what the policy decides about one input, and which rule spoke. Exit code 1 where it denies.

    The input is JSON as in docs/reference/policy-input.md; what the file leaves out is unknown.
    """
    from wirekey.policy.explanation import matching_rules
    from wirekey.policy.modules import read_modules
    from wirekey.policy.rego import Rego
    from wirekey.policy.replay import evaluate_call

    path, asked = chosen(config, folder, query)
    given = read_input(source)
    modules = read_modules(path)
    tried_apart(modules, asked, given)
    policy = Rego(modules, asked)
    decision = evaluate_call(policy, given, needs_allow="allow" in policy.syntax.rule_names(asked))
    heard = matching_rules(modules, asked, json.dumps(given).encode())
    if as_json:
        answer = dataclasses.asdict(decision) | {
            "revision": modules.revision,
            "rules": [dataclasses.asdict(voice) for voice in heard],
        }
        click.echo(json.dumps(answer, indent=2))
    else:
        click.echo("allow" if decision.allow else f"deny: {decision.failure or ' '.join(decision.reasons)}")
        for name in ("model", "max_tokens"):
            if (value := getattr(decision, name)) is not None:
                click.echo(f"  {name}: {value}")
        for voice in heard:
            click.echo(f"  {voice.file}:{voice.line}: {voice.text}")
        if not heard:
            click.echo("  no rule spoke")
    sys.exit(0 if decision.allow else 1)


@command.command("replay")
@with_config
@with_policy
@click.option("--since", callback=moment, default="7d", show_default=True, help="Calls from: 15m, 2h, 7d or a date.")
@as_json_option
def replay_calls(config: Config, folder: Path | None, query: str | None, since: float, *, as_json: bool) -> None:
    """Say what the policy would have decided about the recorded calls. Exit code 1 where that is something else.

    Names of tools and headers are not recorded, and permissions are taken as they are now.
    """
    from wirekey.audit.reading import Filters, events
    from wirekey.policy.modules import read_modules
    from wirekey.policy.rego import Rego
    from wirekey.policy.replay import replay, unrecorded_fields

    path, asked = chosen(config, folder, query)
    policy = Rego(read_modules(path), asked)
    with audit_file(config) as database:
        outcome = replay(events(database, Filters(since=since)), policy, asked, permissions(config))
    unsure = unrecorded_fields(policy)
    if as_json:
        answer = dataclasses.asdict(outcome) | {"not_recorded": unsure}
        click.echo(json.dumps(answer, indent=2))
    else:
        if outcome.changes:
            rows = [(c.agent or "-", c.model or "-", c.then, c.now, str(c.calls), c.reason) for c in outcome.changes]
            click.echo(table(HEAD, rows, right=(4,)))
        changed = sum(change.calls for change in outcome.changes)
        click.echo(f"{outcome.evaluated} calls judged, {changed} changed, {outcome.left_out} left out.")
        for failure, calls in outcome.undecided.most_common(5):
            click.echo(f"{calls} could not be decided: {failure}", err=True)
        if unsure:
            click.echo(f"The policy reads what is not recorded: {', '.join(unsure)}.", err=True)
    sys.exit(1 if outcome.changes else 0)


def chosen(config: Config, folder: Path | None, query: str | None) -> tuple[Path, str]:
    """Give folder and query: as asked for, as configured, or the default."""
    setting = config.effective_policy
    return folder or setting.path, query or setting.query


def read_input(source: Any) -> dict[str, Any]:
    try:
        given = json.load(source)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"The input is no JSON: {error}.") from None
    if not isinstance(given, dict):
        raise click.UsageError("The input is no JSON object.")
    # As OPA's own `eval` takes it, and as its Data API does.
    return given["input"] if list(given) == ["input"] and isinstance(given["input"], dict) else given


def tried_apart(modules: Modules, query: str, given: dict[str, Any]) -> None:
    """Ask a process of its own first, so that a loop ends with a sentence. Raises PolicyError."""
    from wirekey.policy.worker import PolicyWorker

    PolicyWorker(modules, query, [json.dumps(given).encode()], 1.0).end()


def permissions(config: Config) -> Callable[[str], list[str]]:
    """Give what agents are permitted now; agents that are gone count as having the usual ones."""
    from wirekey.identity.agents import AgentStore
    from wirekey.permissions import DEFAULT

    agents = AgentStore(config.state / "agents.json")
    known = {record.id: record.permissions for record in agents.agents()}
    return lambda agent: list(DEFAULT if (found := known.get(agent)) is None else found)
