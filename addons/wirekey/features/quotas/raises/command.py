"""wirekey quotas: list quotas, raise their limits for some time, and end that."""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import pwd
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET
from msgspec.structs import replace

from wirekey.cli.moments import seconds_of
from wirekey.cli.options import as_json_option, with_config
from wirekey.cli.table import table
from wirekey.features.quotas.limit_names import KINDS, kind_of
from wirekey.features.quotas.raises.record import LONGEST, LONGEST_WHY, RaiseRecord, merged
from wirekey.features.quotas.raises.stored import RaisesError, RaisesFile, exchange
from wirekey.features.quotas.runs.options import LimitType

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config import Config
    from wirekey.core.identity.runs import LimitChange
    from wirekey.features.quotas.definition import Quota

HEAD = ("QUOTA", "PER", "OF", "LIMITS")
DOLLARS, COUNT = LimitType("dollars", extends=False), LimitType("count", extends=False)
CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


def end_moment(context: click.Context, param: click.Parameter, value: str) -> datetime:
    """Convert an option's text to a moment to come. For click's `callback`."""
    now = datetime.now(UTC)
    seconds = seconds_of(value)
    if seconds is not None:
        return now + timedelta(seconds=min(seconds, 2 * LONGEST.total_seconds()))
    if clock := CLOCK.fullmatch(value):
        local = now.astimezone()
        today = local.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        return (today if today > local else today + timedelta(days=1)).astimezone(UTC)
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is not a time. Write 18:00, 2h, 3d or 2026-01-31T12:00.", context, param
        ) from None


@click.group("quotas")
def command() -> None:
    """Show the quotas, and raise their limits for some time."""


@command.command("list")
@with_config
@as_json_option
def list_quotas(config: Config, *, as_json: bool) -> None:
    """List the quotas with their limits, and the raises that are in force."""
    from wirekey.features.quotas.configured import quotas_of
    from wirekey.features.quotas.listing import in_words, shown_limits, shown_overrides

    quotas, raises = quotas_of(config), active_raises(config)
    if as_json:
        entries = [
            {"name": quota.name, "per": quota.per, "limits": shown_limits(quota), "overrides": shown_overrides(quota)}
            for quota in quotas
        ]
        click.echo(json.dumps({"quotas": entries, "raises": list(map(facts, raises))}, indent=2))
        return
    if not quotas:
        click.echo("There are no quotas. Set them in the configuration: quotas.")
        return
    rows = []
    for quota in quotas:
        rows.append((quota.name, quota.per, "", in_words(quota)))
        rows += [(quota.name, quota.per, subject, in_words(limits)) for subject, limits in quota.overrides.items()]
    click.echo(table(HEAD, rows))
    for each in raises:
        click.echo(f"Raised: {each.words}, by {each.by}: {each.why}")


@command.command("raise")
@with_config
@click.argument("name")
@click.argument("subject", required=False)
@click.option("--usd", type=DOLLARS, metavar="USD", help="Add this to its limits in US dollars.")
@click.option("--tokens", type=COUNT, metavar="N", help="Add this to its limits of tokens: 50k, 2M.")
@click.option("--requests", type=COUNT, metavar="N", help="Add this to its limits of calls.")
@click.option(
    "--until",
    required=True,
    callback=end_moment,
    help="When the raise ends: 18:00, 2h, 3d, 2026-01-31T12:00. At most 31 days.",
)
@click.option("--why", required=True, help="The reason, for the audit log.")
@as_json_option
def raise_quota(
    config: Config,
    name: str,
    subject: str | None,
    *,
    until: datetime,
    why: str,
    as_json: bool,
    **amounts: LimitChange | None,
) -> None:
    """Raise the limits of the quota NAME until a moment, of the agent, role, … SUBJECT or of each.

    All limits of totals of the kind are raised: --usd 50 adds 50 dollars to usd_per_day and usd_per_month, if the quota
    has both. The use in that time counts in its period as usual.
    """
    quota = quota_named(config, name)
    now = datetime.now(UTC)
    added = {kind: change.amount for kind, change in amounts.items() if change}
    check(quota, subject, added, until=until, now=now, why=why)
    record = RaiseRecord(
        id=os.urandom(8).hex(),
        quota=name,
        subject=UNSET if subject is None else subject,
        created=now,
        until=until,
        why=why,
        by=user_name(),
        usd=added.get("usd", 0),
        tokens=added.get("tokens", 0),
        requests=added.get("requests", 0),
    )
    store(config, lambda own: merged((*own, record), (), now))
    if as_json:
        click.echo(json.dumps(facts(record), indent=2))
    else:
        click.echo(f"Raised {record.words}. A running proxy applies it within 2 seconds.")


@command.command("lower")
@with_config
@click.argument("name")
@click.argument("subject", required=False)
@as_json_option
def lower_quota(config: Config, name: str, subject: str | None, *, as_json: bool) -> None:
    """End the raises of the quota NAME, of SUBJECT or all of them, before their time is over."""
    now = datetime.now(UTC)
    ended: list[RaiseRecord] = []

    def end(own: tuple[RaiseRecord, ...]) -> tuple[RaiseRecord, ...]:
        found = [each for each in own if each.is_active(now) and each.quota == name and subject in (None, each.subject)]
        ended.extend(found)
        return tuple(replace(each, ended_at=now) if each in found else each for each in own)

    store(config, end)
    if not ended:
        of = f" for {subject[:64]!r}" if subject else ""
        raise RaisesError(f"No raise of the quota {name[:64]!r}{of} is in force.")
    if as_json:
        click.echo(json.dumps(list(map(facts, ended)), indent=2))
    else:
        for each in ended:
            click.echo(f"Ended the raise of {each.words}. A running proxy applies it within 2 seconds.")


def user_name() -> str:
    """Return the name of the user of this process, or its number: in a container, it may have no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name[:64]
    except KeyError:
        return str(os.getuid())


def quota_named(config: Config, name: str) -> Quota:
    """Return the quota of a name. Raises RaisesError, with the nearest name."""
    from wirekey.features.quotas.configured import quotas_of

    quotas = {quota.name: quota for quota in quotas_of(config)}
    if name in quotas:
        return quotas[name]
    near = difflib.get_close_matches(name, quotas, 1)
    hint = f"Did you mean {near[0]}?" if near else "`wirekey quotas list` lists them."
    raise RaisesError(f"There is no quota {name[:64]!r}. {hint}")


def check(
    quota: Quota, subject: str | None, added: dict[str, int], *, until: datetime, now: datetime, why: str
) -> None:
    """Raise RaisesError if a raise is not possible."""
    if not added:
        raise click.UsageError("Nothing to raise. Use --usd, --tokens or --requests.")
    if subject is not None and (quota.per == "all" or not subject.isprintable() or not 0 < len(subject) <= 256):
        raise RaisesError(f"The quota {quota.name} has no subject {subject[:64]!r}. Leave it out.")
    if not now < until <= now + LONGEST:
        raise RaisesError(f"--until must be to come, within {LONGEST.days} days.")
    if not why.strip() or not why.isprintable() or len(why) > LONGEST_WHY:
        raise RaisesError(f"--why must be one line of at most {LONGEST_WHY} characters.")
    limited = [quota.limits_of(subject)] if subject is not None else [quota, *quota.overrides.values()]
    kinds = {kind_of(name) for limits in limited for name, _, _ in limits.totals}
    for kind in added:
        if kind not in kinds:
            has = ", ".join(each for each in KINDS if each in kinds) or "none"
            raise RaisesError(f"The quota {quota.name} has no total of {kind} to raise. Its totals: {has}.")


def active_raises(config: Config) -> tuple[RaiseRecord, ...]:
    """Return the raises that are in force, on all machines if they share a state. Raises RaisesError."""
    now = datetime.now(UTC)
    known = shared_raises(config, RaisesFile(config.state).read(), warns=False)
    return tuple(each for each in known if each.is_active(now))


def store(config: Config, change: Callable[[tuple[RaiseRecord, ...]], tuple[RaiseRecord, ...]]) -> None:
    """Change the raises of this machine, with those of all others, and pass them on. Raises RaisesError."""
    file = RaisesFile(config.state)
    others = shared_raises(config, file.read(), warns=False)
    shared_raises(config, file.change(lambda own: change(merged(own, others, datetime.now(UTC)))))


def shared_raises(config: Config, own: tuple[RaiseRecord, ...], *, warns: bool = True) -> tuple[RaiseRecord, ...]:
    """Return raises with those of other machines, which get them. If the server does not respond, it is reported."""
    from wirekey.core.shared_state import SharedStateUnavailableError
    from wirekey.server.shared_state import remote_state

    async def ask() -> tuple[RaiseRecord, ...]:
        state = remote_state(config)
        if state is None:
            return own
        try:
            return await exchange(state, own)
        finally:
            await state.close()

    try:
        return asyncio.run(ask())
    except SharedStateUnavailableError as error:
        if warns:
            click.echo(f"wirekey: {error}. Other machines apply it when they respond again.", err=True)
        return own


def facts(record: RaiseRecord) -> dict[str, Any]:
    """Return a raise as JSON values, money in US dollars."""
    from wirekey.features.quotas.definition import NANODOLLARS

    return {
        "quota": record.quota,
        "subject": None if record.subject is UNSET else record.subject,
        "usd": record.usd / NANODOLLARS,
        "tokens": record.tokens,
        "requests": record.requests,
        "until": f"{record.until:%Y-%m-%dT%H:%M:%SZ}",
        "by": record.by,
        "why": record.why,
    }
