"""wirekey audit verify and audit key: check that nothing of the audit log was changed, removed or inserted."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.moments import moment
from wirekey.cli.options import with_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from wirekey.config import Config
    from wirekey.core.audit.checkpoints import Checkpoint
    from wirekey.core.audit.verifying import Findings


@click.command("verify")
@with_config
@click.option("--since", callback=moment, default=None, help="Begin at the last checkpoint before: 2h, 7d or a date.")
@click.option(
    "--checkpoints",
    "files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Also use the checkpoints in this file: that of audit.checkpoints, or a log.",
)
@click.option("--key", "keys", multiple=True, metavar="HEX", help="Public key of the checkpoints, if it is not ours.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    config: Config, since: float | None, files: tuple[Path, ...], keys: tuple[str, ...], *, as_json: bool
) -> None:
    """Check that no recorded event was changed, removed or inserted. Exits with 1 if one was."""
    from wirekey.core.audit import checkpoints
    from wirekey.core.audit.event import rfc3339
    from wirekey.core.audit.verifying import Findings
    from wirekey.core.audit.verifying import verify as verified
    from wirekey.server.audit_store import audit_database

    known = public_keys(config, keys)
    outside = [point for file in (*configured(config), *files) for point in checkpoints.read(file)]
    findings, began = Findings(), None if since is None else rfc3339(since)
    with audit_database(config).reading() as database:
        sources = database.chains()
        with progress(max((source.head().seq for source in sources), default=0)) as on_progress:
            for source in sources:
                verified(findings, source, outside, known, since=began, on_progress=on_progress)
        for call_id in database.without_writer():
            findings.add("inserted", "No writer can have recorded this event: it was inserted.", call_id)
    for point in foreign(outside, {source.chain for source in sources}):
        findings.add("replaced", f"The chain {point.chain} of the checkpoint of {point.time} is not in the database.")
    report(findings, as_json=as_json)


@click.command("key")
@with_config
def key(config: Config) -> None:
    """Print the public key that verifies checkpoints, and those of previous secrets. The first one signs now."""
    for one in public_keys(config, ()).values():
        click.echo(one.public_bytes_raw().hex())


def report(found: Findings, *, as_json: bool) -> None:
    """Print what was found, and exit with 1 if there is a problem."""
    first = next((problem.id for problem in found.problems if problem.id), None)
    if as_json:
        result: dict[str, Any] = {"valid": not found.problems, "first_bad_id": first, **asdict(found)}
        click.echo(json.dumps(result, indent=2))
    else:
        for problem in found.problems:
            click.echo(f"{problem.kind}: {problem.id or '-'}: {problem.text}")
        if found.further:
            click.echo(f"… and {found.further} more.")
        click.echo(f"Links verified: {found.links}. Checkpoints: {found.checkpoints}. {verdict(found, first)}")
    if found.problems:
        sys.exit(1)


def verdict(found: Findings, first: str | None) -> str:
    """Return the result in a few words."""
    if not found.problems:
        return "No problems."
    number = len(found.problems) + found.further
    return f"Problems: {number}" + (f", the first at {first}." if first else ".")


def public_keys(config: Config, given: tuple[str, ...]) -> dict[str, Ed25519PublicKey]:
    """Return the keys whose checkpoints count, by their id. Raises UsageError for a text that is no key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from wirekey.core.audit.checkpoints import KEY_USE, CheckpointKey, key_id
    from wirekey.server.installation import agent_store

    found = []
    for text in given:
        try:
            found.append(Ed25519PublicKey.from_public_bytes(bytes.fromhex(text)))
        except ValueError:
            raise click.UsageError(f"--key {text}: write the 64 hex digits of a public key.") from None
    if not found:
        found += [CheckpointKey(seed).public for seed in agent_store(config).derived_keys(KEY_USE)]
    return {key_id(key): key for key in found}


def configured(config: Config) -> list[Path]:
    """Return the file of `audit.checkpoints`, if it is set and exists."""
    file = config.audit.checkpoints_file
    return [file] if file and file.exists() else []


def foreign(points: list[Checkpoint], known: set[str]) -> Iterator[Checkpoint]:
    """Yield the last checkpoint of each chain that is not known."""
    yield from {point.chain: point for point in points if point.chain not in known}.values()


class progress:  # noqa: N801  # used as a function
    """Shows on a terminal how many of `total` links were read."""

    def __init__(self, total: int) -> None:
        self._bar = click.progressbar(length=total, label="Verifying", file=sys.stderr, hidden=not sys.stderr.isatty())

    def __enter__(self) -> Callable[[int], None]:
        bar = self._bar.__enter__()
        return lambda done: bar.update(done - bar.pos)

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(None, None, None)
