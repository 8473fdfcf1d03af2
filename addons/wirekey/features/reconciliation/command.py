"""wirekey usage reconcile: compare the recorded calls with a provider's own report, and say what differs."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.moments import moment
from wirekey.cli.options import as_json_option, with_config
from wirekey.cli.table import money, table, word
from wirekey.features.reconciliation.fetching import APIS
from wirekey.features.reconciliation.reports import READERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.config import Config
    from wirekey.core.egress.upstream_proxy import UpstreamProxy
    from wirekey.core.routing.candidate import Upstream
    from wirekey.core.secret import Secret
    from wirekey.features.reconciliation.comparison import Compared
    from wirekey.features.reconciliation.usage import Used

HEAD = ("DAY", "MODEL", "KEY", "IN", "REPORTED", "OUT", "REPORTED", "COST $", "REPORTED", "WHY IT MAY DIFFER")
USUAL_DAYS = 7


@click.command("reconcile")
@with_config
@click.option("--provider", type=click.Choice(list(READERS)), required=True, help="Whose report it is.")
@click.option(
    "--from",
    "files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A saved report: JSON of OpenAI and Anthropic, CSV of AWS and Google. Repeatable.",
)
@click.option("--api", "from_api", is_flag=True, help="Get the reports from the provider's API. Needs --key.")
@click.option("--key", default=None, metavar="REFERENCE", help="Admin key for --api: env:NAME, file:PATH or keyring:….")
@click.option(
    "--since", callback=moment, default=None, help="From this day in UTC on: 7d (ago) or a date. Default: 7d."
)
@click.option(
    "--until", callback=moment, default=None, help="Before this day in UTC. Default: today, which is not over."
)
@click.option(
    "--same", multiple=True, metavar="LABEL=ID", help="Compare keys: a label, such as openai/1, and its id there."
)
@click.option(
    "--tolerance", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Share that may differ."
)
@as_json_option
def command(config: Config, provider: str, tolerance: float, *, as_json: bool, **given: Any) -> None:
    """Compare the recorded calls with the report of a provider, by day, model and key.

    Exits with 1 if something differs, and says why it may.
    """
    from wirekey.features.reconciliation.comparison import compare

    begin, end = period(given["since"], given["until"])
    files: Sequence[Path] = given["files"]
    if bool(files) == given["from_api"]:
        raise click.UsageError("Name the report: --from FILE or --api.")
    reported = from_files(provider, files) if files else from_provider(config, provider, given["key"], begin, end)
    reported = [entry for entry in reported if f"{begin:%Y-%m-%d}" <= entry[0].day < f"{end:%Y-%m-%d}"]
    found = compare(
        from_audit(config, provider, begin, end), reported, keys=keys_of(given["same"]), tolerance=tolerance
    )
    click.echo(json.dumps(as_values(provider, begin, end, found), indent=2) if as_json else text_of(found, begin, end))
    if any(one.differs for one in found):
        sys.exit(1)


def period(since: float | None, until: float | None) -> tuple[datetime, datetime]:
    """Return the beginning of the first day, and of the day after the last. Raises UsageError."""
    now = time.time()
    begin = midnight(now - USUAL_DAYS * 86400 if since is None else since)
    end = midnight(now if until is None else until)
    if until is not None and until > end.timestamp():
        end += timedelta(days=1)
    if begin >= end:
        raise click.UsageError("There is no whole day from --since until --until. To include today, say --until 0s.")
    return begin, end


def midnight(moment: float) -> datetime:
    """Return the beginning of the day of a moment (Unix seconds), in UTC."""
    return datetime.fromtimestamp(moment, UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def keys_of(same: Sequence[str]) -> dict[str, str]:
    """Return label → id of the keys to compare. Raises UsageError."""
    found = dict(each.partition("=")[::2] for each in same)
    if wrong := [label for label, known in found.items() if not (label and known)]:
        raise click.UsageError(f"--same {wrong[0]}: write LABEL=ID, such as openai/1=key_abc123.")
    return found


def from_files(provider: str, files: Sequence[Path]) -> list[Used]:
    """Return what saved reports say. Raises ReportError."""
    from wirekey.features.reconciliation.reports import LARGEST, ReportError, read_report

    found: list[Used] = []
    for file in files:
        try:
            with file.open("rb") as content:
                found += read_report(provider, content.read(LARGEST + 1), str(file))
        except OSError as error:
            raise ReportError(f"{file} cannot be read: {error.strerror}.") from None
    return found


def from_provider(config: Config, provider: str, key: str | None, begin: datetime, end: datetime) -> list[Used]:
    """Return what the provider's API says. Raises UsageError, ReportError."""
    from wirekey.core.routing.candidate import Upstream
    from wirekey.core.routing.configured import provider_upstream
    from wirekey.features.reconciliation.fetching import fetched, server_at
    from wirekey.features.reconciliation.reports import read_report
    from wirekey.providers.registry import PROVIDERS

    if provider not in APIS:
        raise click.UsageError(f"{provider} has no API of reports that Wirekey knows. Export one, and use --from FILE.")
    secret = admin_key(key)
    upstream = provider_upstream(config, provider) or Upstream(PROVIDERS[provider].hosts.own)
    server = server_at(upstream, config.upstream_ca_file, proxy_to(config, provider, upstream))
    pages = fetched(provider, upstream, server, secret, (begin, end))
    return read_report(provider, pages, f"The report of {upstream.host}")


def proxy_to(config: Config, provider: str, upstream: Upstream) -> UpstreamProxy | None:
    """Return the proxy on the way out to a provider, or None. Raises ConfigError."""
    from wirekey.config import configured_proxy, environment_proxy

    own = config.providers.of(provider).upstream_proxy
    proxy = (
        configured_proxy(config, own, f"providers.{provider}.upstream_proxy")
        or configured_proxy(config, config.upstream_proxy, "upstream_proxy")
        or environment_proxy(config, config.environ).proxy
    )
    return proxy if proxy and proxy.is_used_for(upstream.host, upstream.port) else None


def admin_key(reference: str | None) -> Secret:
    """Return the key for the reports. Raises UsageError, without the text if that may be a key."""
    from wirekey.config.secrets import SecretRef, resolve

    if reference is None:
        raise click.UsageError("--api needs --key, a reference to an admin key: env:OPENAI_ADMIN_KEY or file:PATH.")
    try:
        return resolve(SecretRef.parse(reference), os.environ, Path.cwd())
    except ValueError as error:
        raise click.UsageError(f"--key {error}.") from None


def from_audit(config: Config, provider: str, begin: datetime, end: datetime) -> list[Used]:
    """Return what the audit log says. Raises AuditDatabaseError."""
    from wirekey.features.reconciliation.recorded import recorded
    from wirekey.server.audit_store import audit_database

    log = audit_database(config)
    if not log.exists():
        return []
    with log.reading() as database:
        return recorded(database, provider, begin.timestamp(), end.timestamp())


def text_of(found: Sequence[Compared], begin: datetime, end: datetime) -> str:
    """Return the comparison as a table with a last line."""
    last = end - timedelta(days=1)
    days = f"{begin:%Y-%m-%d}" + ("" if last == begin else f" to {last:%Y-%m-%d}")
    if not found:
        return f"There are no calls on {days}, neither recorded nor reported."
    rows = []
    for one in found:
        here, there, group = one.recorded, one.reported, one.group
        pairs = [(here.input_tokens, there.input_tokens), (here.output_tokens, there.output_tokens)]
        counts = [word(value) for pair in pairs for value in pair]
        costs = [money(here.cost_usd), money(there.cost_usd)]
        rows.append(
            (group.day, word(group.model or None), word(group.key or None), *counts, *costs, "; ".join(one.reasons))
        )
    different = sum(bool(one.differs) for one in found)
    verdict = f"{different} of {len(found)} differ." if different else f"All {len(found)} agree."
    return f"{table(HEAD, rows, right=range(3, 9))}\n\n{days}: {verdict}"


def as_values(provider: str, begin: datetime, end: datetime, found: Sequence[Compared]) -> dict[str, Any]:
    """Return the comparison as JSON values."""
    return {
        "provider": provider,
        "since": f"{begin:%Y-%m-%d}",
        "until": f"{end:%Y-%m-%d}",
        "agrees": not any(one.differs for one in found),
        "groups": [
            asdict(one.group)
            | {
                "recorded": asdict(one.recorded),
                "reported": asdict(one.reported),
                "differs": one.differs,
                "reasons": one.reasons,
            }
            for one in found
        ],
    }
