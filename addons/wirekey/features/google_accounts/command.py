"""wirekey accounts: Google logins, for the backend gemini-oauth-auto."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.options import with_config
from wirekey.cli.table import table, word
from wirekey.core.command_name import COMMAND
from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.features.google_accounts.account_files import AccountFiles
    from wirekey.features.google_accounts.accounts import GoogleAccount

REVOCATION_PAGE = "https://myaccount.google.com/connections"
APPLIED = "A running proxy applies it within 2 seconds."

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, without tokens.")
skip_validation_option = click.option("--skip-validation", is_flag=True, help="Do not look up the project at Google.")


def login_options[F](function: F) -> F:
    """Add the options of a login."""
    options = (
        click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the redirect. 0: a free one."),
        click.option("--timeout", type=click.IntRange(1, 3600), default=120, show_default=True, help="Seconds."),
        click.option("--no-browser", is_flag=True, help="Only print the URL, and read the redirect from the terminal."),
        skip_validation_option,
        as_json_option,
    )
    for option in reversed(options):
        function = option(function)  # type: ignore[type-var]
    return function


@click.group("accounts")
def command() -> None:
    """Log in to Google, for the backend gemini-oauth-auto. A running proxy applies changes within 2 seconds.

    Google's terms for these logins apply, and you answer for their use.
    """


@command.command("list")
@with_config
@as_json_option
def list_accounts(config: Config, *, as_json: bool) -> None:
    """List all accounts."""
    accounts, problems = files_of(config).all()
    for problem in problems:
        click.echo(problem.report(), err=True)
    if as_json:
        click.echo(json.dumps([facts(account) for account in accounts], indent=2))
    elif not accounts and not problems:
        click.echo(f"There are no accounts yet. Add one: {COMMAND} accounts add")
    else:
        rows = [
            (one.account_id, word(one.email), status_text(one), word(one.project_id), minute(one.last_used))
            for one in accounts
        ]
        click.echo(table(("ID", "EMAIL", "STATUS", "PROJECT", "LAST USED"), rows))
    if problems:
        raise SystemExit(1)


@command.command("show")
@with_config
@click.argument("account_id", metavar="ID")
@as_json_option
def show(config: Config, account_id: str, *, as_json: bool) -> None:
    """Show account ID."""
    account = files_of(config).get(account_id)
    if as_json:
        click.echo(json.dumps(facts(account), indent=2))
        return
    lines = [
        ("account", account.account_id),
        ("email", word(account.email)),
        ("status", status_text(account)),
        ("project", word(account.project_id) + (" (set by hand)" if account.project_set else "")),
        ("created", minute(account.created_at)),
        ("changed", minute(account.updated_at)),
        ("last used", minute(account.last_used)),
        ("token ends", minute(account.expiry_date)),
        ("scopes", word(account.scope)),
    ]
    reason = account.invalid or (account.limited_by if status_text(account).startswith("resting") else None)
    for label, value in [*lines, *([("reason", reason)] if reason else [])]:
        click.echo(f"{label:<10}  {value}")


@command.command("add")
@with_config
@click.option("--account-id", default=None, metavar="ID", help="Its id. Default: made from the email.")
@login_options
def add(
    config: Config,
    account_id: str | None,
    port: int,
    timeout: int,
    *,
    no_browser: bool,
    skip_validation: bool,
    as_json: bool,
) -> None:
    """Log in to another Google account, in the browser."""
    from wirekey.features.google_accounts.command_login import Login

    files = files_of(config)
    if account_id is not None and files.find(account_id):
        raise UserError(
            f"There is an account {account_id} already. Log in again: {COMMAND} accounts update {account_id}"
        )
    login = Login(config, port, timeout, browser=not no_browser, validate=not skip_validation, quiet=as_json)
    new = login.run()
    account = replace(new.account, account_id=account_id or files.free_id(new.account.email))
    files.add(account)
    print_result(account, f"Added the account {account.account_id}.", new.trouble, as_json=as_json)


@command.command("update")
@with_config
@click.argument("account_id", metavar="ID")
@click.option("--force", is_flag=True, help="Also accept the login of another person.")
@login_options
def update(
    config: Config,
    account_id: str,
    port: int,
    timeout: int,
    *,
    force: bool,
    no_browser: bool,
    skip_validation: bool,
    as_json: bool,
) -> None:
    """Log in to account ID again, in the browser."""
    from wirekey.features.google_accounts.command_login import Login

    files = files_of(config)
    before = files.get(account_id)
    login = Login(config, port, timeout, browser=not no_browser, validate=not skip_validation, quiet=as_json)
    new = login.run(before, force=force)
    with files.locked(account_id):
        files.write(new.account)
    print_result(new.account, f"The account {account_id} is logged in again.", new.trouble, as_json=as_json)


@command.command("remove")
@with_config
@click.argument("account_id", metavar="ID")
@click.option("--force", is_flag=True, help="Do not ask.")
@click.option("--revoke", is_flag=True, help="Also end Wirekey's access at Google.")
@as_json_option
def remove(config: Config, account_id: str, *, force: bool, revoke: bool, as_json: bool) -> None:
    """Delete account ID here."""
    from wirekey.features.google_accounts import token_server
    from wirekey.features.google_accounts.command_login import proxy_of
    from wirekey.features.google_accounts.opened_logins import google_settings

    files = files_of(config)
    account = files.get(account_id)
    if not force:
        click.confirm(f"Delete the login of {account.email or account_id}?", abort=True, err=True)
    revoked = False
    token = account.refresh_token or account.access_token
    if revoke and token:
        revoked = token_server.revoke(google_settings(config, proxy_of(config)), token)
    files.remove(account_id)
    if as_json:
        click.echo(json.dumps({"account_id": account_id, "removed": True, "revoked": revoked}))
        return
    click.echo(f"Removed {account_id}. {APPLIED}")
    if revoked:
        click.echo("Google has ended its access.")
    else:
        click.echo(f"Google still lists the access. To end it: {REVOCATION_PAGE}")


@command.command("set-project-id")
@with_config
@click.argument("account_id", metavar="ID")
@click.option("--project-id", default=None, metavar="P", help="The project. Empty: look it up again.")
@click.option("--clear", is_flag=True, help="Look the project up again.")
@skip_validation_option
@as_json_option
def set_project_id(
    config: Config, account_id: str, project_id: str | None, *, clear: bool, skip_validation: bool, as_json: bool
) -> None:
    """Set the Google Cloud project of account ID."""
    from wirekey.features.google_accounts.account_files import now_in_milliseconds
    from wirekey.features.google_accounts.command_login import validate_project

    if (project_id is None and not clear) or (project_id and clear):
        raise click.UsageError("Use either --project-id P or --clear.")
    files = files_of(config)
    files.get(account_id)
    if project_id and not skip_validation:
        asyncio.run(validate_project(config, files, account_id, project_id))

    def change(old: GoogleAccount) -> GoogleAccount:
        return replace(
            old, project_id=project_id or None, project_set=bool(project_id), updated_at=now_in_milliseconds()
        )

    account = files.change(account_id, change)
    assert account
    done = f"The project of {account_id} is {project_id}." if project_id else f"{account_id} has no set project now."
    print_result(account, done, None, as_json=as_json)


@command.command("import")
@with_config
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--account-id", default=None, metavar="ID", help="Its id. Default: made from the email.")
@as_json_option
def import_accounts(config: Config, file: Path, account_id: str | None, *, as_json: bool) -> None:
    """Import a login file, a token file of one account, or a folder of accounts."""
    from wirekey.features.google_accounts.command_login import read_logins

    found = read_logins(file)
    if account_id is not None and len(found) != 1:
        raise click.UsageError("--account-id is for a file with one account.")
    files, added = files_of(config), []
    for account in found:
        wanted = account_id or account.account_id or files.free_id(account.email)
        files.add(replace(account, account_id=wanted))
        added.append(files.get(wanted))
    if as_json:
        click.echo(json.dumps([facts(account) for account in added], indent=2))
    else:
        for account in added:
            click.echo(f"Imported {account.account_id}.")
        click.echo(APPLIED)


def files_of(config: Config) -> AccountFiles:
    """Return the folder of accounts of a configuration."""
    from wirekey.features.google_accounts.opened_logins import account_files

    return account_files(config)


def print_result(account: GoogleAccount, done: str, trouble: str | None, *, as_json: bool) -> None:
    """Print an account after a change. Exit with 1 if its project could not be looked up."""
    if as_json:
        click.echo(json.dumps(facts(account) | ({"problem": trouble} if trouble else {}), indent=2))
    else:
        click.echo(f"{done} {APPLIED}")
        for label, value in (("email", account.email), ("project", account.project_id)):
            if value:
                click.echo(f"{label:<10}  {value}")
    if trouble:
        raise UserError(f"The project could not be looked up: {trouble}")


def facts(account: GoogleAccount) -> dict[str, Any]:
    """Return an account as JSON values, without its tokens."""
    return {
        "account_id": account.account_id,
        "email": account.email,
        "status": status_text(account),
        "project_id": account.project_id,
        "project_set": account.project_set,
        "created_at": stamp(account.created_at),
        "updated_at": stamp(account.updated_at),
        "last_used": stamp(account.last_used),
        "token_ends": stamp(account.expiry_date),
        "scopes": account.scope.split(),
        "limited_until": stamp(account.limited_until),
        "limited_by": account.limited_by,
        "invalid": account.invalid,
    }


def status_text(account: GoogleAccount) -> str:
    """Return the status of an account."""
    from wirekey.features.google_accounts.accounts import AccountStatus

    status = account.status(time.time())
    return f"{status} until {minute(account.limited_until)}" if status is AccountStatus.COOLING_DOWN else str(status)


def stamp(moment: int | None) -> str | None:
    """Return milliseconds since 1970 in RFC 3339, UTC."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def minute(moment: int | None) -> str:
    """Return milliseconds since 1970 as local date, hour and minute."""
    return "-" if moment is None else f"{datetime.fromtimestamp(moment / 1000, UTC).astimezone():%Y-%m-%d %H:%M}"
