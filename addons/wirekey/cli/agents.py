"""wirekey agents: add, change, list, rotate and revoke agents."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.agent_commands import AddedAgent, AgentCommands
from wirekey.cli.agents_import import export_command, import_command
from wirekey.cli.moments import span
from wirekey.cli.new_credentials import print_client, print_token
from wirekey.cli.options import as_json_option, labels_of, with_config
from wirekey.cli.table import table
from wirekey.core.command_name import COMMAND
from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.identity.agents import AgentStore
    from wirekey.core.identity.agents_format import AgentRecord, TokenRecord
    from wirekey.core.identity.clients import ClientRecord

oauth_client_option = click.option(
    "--oauth-client",
    is_flag=True,
    help="Create OAuth 2.0 client credentials instead of a token. Programs exchange them for short-lived tokens.",
)


@click.group("agents")
def command() -> None:
    """Add, change and revoke agents. A running proxy applies changes within 2 seconds."""


command.add_command(import_command)
command.add_command(export_command)


@command.command("add")
@with_config
@click.argument("name")
@click.option("--role", default=None, help="Its role, for policy and audit.")
@click.option("--type", "kind", default=None, help="Its type, for policy and audit.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    metavar="WORD",
    help="A permission: web:read, web:write, or a word that your policies use. Repeatable. "
    "Default: web:read and web:write.",
)
@click.option("--label", "labels", multiple=True, callback=labels_of, metavar="NAME=VALUE", help="A label. Repeatable.")
@oauth_client_option
@as_json_option
def add(
    config: Config,
    name: str,
    role: str | None,
    kind: str | None,
    permissions: tuple[str, ...],
    *,
    labels: dict[str, str],
    oauth_client: bool,
    as_json: bool,
    **of_features: Any,
) -> None:
    """Add agent NAME and print its token. The token is never shown again."""
    agents, added = agent_store(config), f"Added the agent {name}."
    if oauth_client:
        credentials = agents.add_client(name, role, kind, permissions or None, labels)
        print_client(config, name, credentials, added, as_json=as_json)
    else:
        token = agents.add(name, role, kind, permissions or None, labels)
        print_token(config, name, token, added, as_json=as_json)
    for part in parts(AgentCommands):
        part.added(AddedAgent(config, agents, name, as_json), of_features)


@command.command("set")
@with_config
@click.argument("name")
@click.option("--role", default=None, help="Its role, for policy and audit. An empty text removes it.")
@click.option("--type", "kind", default=None, help="Its type, for policy and audit. An empty text removes it.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    metavar="WORD",
    help="A permission, in place of the present ones. Repeatable. An empty text restores the default ones.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=labels_of,
    metavar="NAME=VALUE",
    help="A label, such as team=search, in addition to the present ones. Repeatable. NAME= removes it.",
)
@click.option(
    "--suspended/--no-suspended",
    default=None,
    help="Refuse all its credentials until --no-suspended. Its running calls end.",
)
@as_json_option
def change(
    config: Config,
    name: str,
    role: str | None,
    kind: str | None,
    permissions: tuple[str, ...],
    *,
    labels: dict[str, str],
    suspended: bool | None,
    as_json: bool,
) -> None:
    """Change agent NAME. Its credentials stay valid, and JWTs that it has follow the change."""
    if role is None and kind is None and not permissions and not labels and suspended is None:
        raise click.UsageError(
            "Nothing to change. Use --role, --type, --permission, --label, --suspended or --no-suspended."
        )
    agents = agent_store(config)
    agents.change(
        name,
        role=role,
        type=kind,
        permissions=tuple(filter(None, permissions)) if permissions else None,
        suspended=suspended,
        labels=labels,
    )
    if as_json:
        click.echo(json.dumps(agent_facts(agents.agent(name)), indent=2))
    else:
        click.echo(f"Changed {name}. A running proxy applies it within 2 seconds.")


@command.command("rotate")
@with_config
@click.argument("name")
@click.option("--overlap", default="0", callback=span, help="How long the old tokens still work: 90, 15m, 2h, 7d.")
@oauth_client_option
@as_json_option
def rotate(config: Config, name: str, overlap: float, *, oauth_client: bool, as_json: bool) -> None:
    """Replace the tokens of agent NAME with a new one and print it."""
    previous = f"still work for {overlap:g} s" if overlap else "have stopped working"
    if oauth_client:
        credentials = agent_store(config).rotate_client(name, overlap_seconds=overlap)
        news = f"{name} has new client credentials. Its old ones, and tokens issued for them, {previous}."
        print_client(config, name, credentials, news, as_json=as_json)
        return
    token = agent_store(config).rotate(name, overlap_seconds=overlap)
    print_token(config, name, token, f"{name} has a new token. Its old ones {previous}.", as_json=as_json)


@command.command("revoke")
@with_config
@click.argument("name")
@as_json_option
def revoke(config: Config, name: str, *, as_json: bool) -> None:
    """Revoke agent NAME. Its tokens stop working, also in open connections."""
    agent_store(config).revoke(name)
    if as_json:
        click.echo(json.dumps({"agent": name, "revoked": True}))
    else:
        click.echo(f"Revoked {name}. A running proxy refuses it within 2 seconds.")


@command.command("list")
@with_config
@as_json_option
def list_agents(config: Config, *, as_json: bool) -> None:
    """List all agents, including revoked ones."""
    agents = agent_store(config).agents()
    if as_json:
        click.echo(json.dumps([agent_facts(agent) for agent in agents], indent=2))
    elif not agents:
        click.echo(f"There are no agents yet. Add one: {COMMAND} agents add alice")
    else:
        rows = [
            (
                agent.id,
                agent.role or "-",
                agent.type or "-",
                str(sum(is_valid(token) for token in agent.tokens)),
                day(agent.created),
                f"revoked {day(agent.revoked_at)}" if agent.revoked_at else state_of(agent),
            )
            for agent in agents
        ]
        click.echo(table(("AGENT", "ROLE", "TYPE", "TOKENS", "CREATED", "STATE"), rows, right=(3,)))


@command.command("show")
@with_config
@click.argument("name")
@as_json_option
def show(config: Config, name: str, *, as_json: bool) -> None:
    """Show agent NAME and the ids of its tokens."""
    agent = agent_store(config).agent(name)
    if as_json:
        click.echo(json.dumps(agent_facts(agent), indent=2))
        return
    state = f"revoked {minute(agent.revoked_at)}" if agent.revoked_at else state_of(agent)
    for label, value in (
        ("agent", agent.id),
        ("role", agent.role or "-"),
        ("type", agent.type or "-"),
        ("may", " ".join(permissions_of(agent)) or "-"),
        ("labels", " ".join(f"{name}={value}" for name, value in sorted(agent_labels(agent).items())) or "-"),
        ("created", minute(agent.created)),
        ("state", state),
    ):
        click.echo(f"{label:<8}  {value}")
    if agent.tokens:
        rows = [(token.id, token.label, minute(token.created), expiry(token)) for token in agent.tokens]
        click.echo("\n" + table(("TOKEN", "LABEL", "CREATED", "EXPIRES"), rows))
    if agent.clients:
        clients = [(client.id, minute(client.created), expiry(client)) for client in agent.clients]
        click.echo("\n" + table(("CLIENT", "CREATED", "EXPIRES"), clients))
    if agent.aws:
        click.echo(f"\nAWS key pair number {agent.aws.generation}, since {minute(agent.aws.created)}")


def agent_store(config: Config) -> AgentStore:
    """Return the agents of the configured state folder."""
    from wirekey.server import installation

    return installation.agent_store(config)


def state_of(agent: AgentRecord) -> str:
    """Return the state of an agent that is not revoked."""
    return "active" if agent.is_active else "suspended"


def permissions_of(agent: AgentRecord) -> tuple[str, ...]:
    """Return the permissions of an agent, or the default ones if it has none of its own."""
    from wirekey.core.permissions import DEFAULT

    return DEFAULT if agent.permissions is None else agent.permissions


def agent_labels(agent: AgentRecord) -> dict[str, str]:
    """Return the labels of an agent by name."""
    from msgspec import UNSET

    return {} if agent.labels is UNSET else agent.labels


def agent_facts(agent: AgentRecord) -> dict[str, Any]:
    """Return what `--json` shows of an agent: everything except the hashes."""
    return {
        "agent": agent.id,
        "role": agent.role,
        "type": agent.type,
        "permissions": permissions_of(agent),
        "labels": agent_labels(agent),
        "created": stamp(agent.created),
        "revoked_at": stamp(agent.revoked_at),
        "suspended": agent.suspended is True,
        "tokens": [
            {
                "id": token.id,
                "label": token.label,
                "created": stamp(token.created),
                "expires_at": stamp(token.expires_at),
            }
            for token in agent.tokens
        ],
        "clients": [
            {"id": client.id, "created": stamp(client.created), "expires_at": stamp(client.expires_at)}
            for client in agent.clients
        ],
        "aws": agent.aws
        and {
            "generation": agent.aws.generation,
            "created": stamp(agent.aws.created),
            "previous_until": stamp(agent.aws.previous_until),
        },
    }


def is_valid(token: TokenRecord | ClientRecord) -> bool:
    """Return whether a token has not expired."""
    return token.expires_at is None or token.expires_at > datetime.now(UTC)


def expiry(token: TokenRecord | ClientRecord) -> str:
    """Return when a token expires, or has expired, for a table."""
    if token.expires_at is None:
        return "when rotated"
    return minute(token.expires_at) if is_valid(token) else f"expired {minute(token.expires_at)}"


def stamp(moment: datetime | None) -> str | None:
    """Return a time in RFC 3339, UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def day(moment: datetime) -> str:
    """Return a time as a local date."""
    return f"{moment.astimezone():%Y-%m-%d}"


def minute(moment: datetime) -> str:
    """Return a time as local date, hour and minute."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


for of_feature in parts(AgentCommands):
    for each in of_feature.commands():
        command.add_command(each)
    add.params[-1:-1] = of_feature.options()  # in front of --json
