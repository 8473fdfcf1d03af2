"""wirekey agents: who may call, and with which token."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.moments import span
from wirekey.cli.new_credentials import tell_client, tell_pair, tell_token
from wirekey.cli.options import with_config
from wirekey.cli.table import table
from wirekey.errors import UserError

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.identity.agents import AgentStore
    from wirekey.identity.agents_format import AgentRecord, TokenRecord
    from wirekey.identity.clients import ClientRecord

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


client_option = click.option(
    "--client",
    is_flag=True,
    help="Client credentials instead of a token: with them the agent's programs get short tokens (OAuth 2.0).",
)


aws_option = click.option(
    "--aws", is_flag=True, help="An AWS key pair, too: AWS SDKs sign with it, and Wirekey signs anew for Bedrock."
)


@click.group("agents")
def command() -> None:
    """Add, list and revoke agents. A running proxy follows at once."""


@command.command("add")
@with_config
@click.argument("name")
@click.option("--role", default=None, help="What policy and audit call its role.")
@click.option("--type", "kind", default=None, help="What policy and audit call its type.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    metavar="WORD",
    help="What it may do: web:read, web:write, or a word of your policies. May be given again. Default: both of these.",
)
@client_option
@aws_option
@as_json_option
def add(
    config: Config,
    name: str,
    role: str | None,
    kind: str | None,
    permissions: tuple[str, ...],
    *,
    client: bool,
    aws: bool,
    as_json: bool,
) -> None:
    """Add the agent NAME, and print its token, which is never shown again."""
    agents, added = book_of(config), f"Added the agent {name}."
    if client:
        credentials = agents.add_client(name, role=role, type=kind, permissions=permissions or None)
        tell_client(config, name, credentials, added, as_json=as_json)
    else:
        token = agents.add(name, role=role, type=kind, permissions=permissions or None)
        tell_token(config, name, token, added, as_json=as_json)
    if aws:
        tell_pair(config, name, agents.pair(name), "", as_json=as_json)


@command.command("aws")
@with_config
@click.argument("name")
@click.option("--rotate", "rotated", is_flag=True, help="Replace the pair that it has.")
@click.option("--overlap", default="0", callback=span, help="How long the former pair still works: 90, 15m, 2h, 7d.")
@as_json_option
def aws(config: Config, name: str, overlap: float, *, rotated: bool, as_json: bool) -> None:
    """Give the agent NAME an AWS key pair, and print it: AWS SDKs sign with it as with any other."""
    agents = book_of(config)
    if rotated:
        previous = f"The former one still works for {overlap:g} s." if overlap else "The former one works no more."
        tell_pair(
            config,
            name,
            agents.rotate_pair(name, overlap),
            f"{name} has a new AWS key pair. {previous}",
            as_json=as_json,
        )
    elif agents.agent(name).aws:
        raise UserError(
            f"{name} has an AWS key pair already, which was shown once. For a new one: "
            f"wirekey agents aws {name} --rotate"
        )
    else:
        tell_pair(config, name, agents.pair(name), f"{name} has an AWS key pair.", as_json=as_json)


@command.command("rotate")
@with_config
@click.argument("name")
@click.option("--overlap", default="0", callback=span, help="How long the former tokens still work: 90, 15m, 2h, 7d.")
@client_option
@as_json_option
def rotate(config: Config, name: str, overlap: float, *, client: bool, as_json: bool) -> None:
    """Replace the tokens of NAME by a new one, and print it."""
    previous = f"still work for {overlap:g} s" if overlap else "work no more"
    if client:
        credentials = book_of(config).rotate_client(name, overlap_seconds=overlap)
        news = f"{name} has new client credentials; its former ones, and tokens got with them, {previous}."
        tell_client(config, name, credentials, news, as_json=as_json)
        return
    token = book_of(config).rotate(name, overlap_seconds=overlap)
    tell_token(config, name, token, f"{name} has a new token; its former ones {previous}.", as_json=as_json)


@command.command("revoke")
@with_config
@click.argument("name")
@as_json_option
def revoke(config: Config, name: str, *, as_json: bool) -> None:
    """End the agent NAME: its tokens work no more, in open connections too."""
    book_of(config).revoke(name)
    if as_json:
        click.echo(json.dumps({"agent": name, "revoked": True}))
    else:
        click.echo(f"Revoked {name}. A running proxy refuses it within 2 seconds.")


@command.command("list")
@with_config
@as_json_option
def list_agents(config: Config, *, as_json: bool) -> None:
    """List all agents, revoked ones too."""
    agents = book_of(config).agents()
    if as_json:
        click.echo(json.dumps([agent_facts(agent) for agent in agents], indent=2))
    elif not agents:
        click.echo("There are no agents yet. Add one: wirekey agents add alice")
    else:
        rows = [
            (
                agent.id,
                agent.role or "-",
                agent.type or "-",
                str(sum(works(token) for token in agent.tokens)),
                day(agent.created),
                f"revoked {day(agent.revoked_at)}" if agent.revoked_at else "active",
            )
            for agent in agents
        ]
        click.echo(table(("AGENT", "ROLE", "TYPE", "TOKENS", "CREATED", "STATE"), rows, right=(3,)))


@command.command("show")
@with_config
@click.argument("name")
@as_json_option
def show(config: Config, name: str, *, as_json: bool) -> None:
    """Show the agent NAME and its tokens, by their ids."""
    agent = book_of(config).agent(name)
    if as_json:
        click.echo(json.dumps(agent_facts(agent), indent=2))
        return
    state = f"revoked {minute(agent.revoked_at)}" if agent.revoked_at else "active"
    for label, value in (
        ("agent", agent.id),
        ("role", agent.role or "-"),
        ("type", agent.type or "-"),
        ("may", " ".join(permissions_of(agent)) or "-"),
        ("created", minute(agent.created)),
        ("state", state),
    ):
        click.echo(f"{label:<8}  {value}")
    if agent.tokens:
        rows = [(token.id, token.label, minute(token.created), ends(token)) for token in agent.tokens]
        click.echo("\n" + table(("TOKEN", "LABEL", "CREATED", "ENDS"), rows))
    if agent.clients:
        clients = [(client.id, minute(client.created), ends(client)) for client in agent.clients]
        click.echo("\n" + table(("CLIENT", "CREATED", "ENDS"), clients))
    if agent.aws:
        click.echo(f"\nAWS key pair number {agent.aws.generation}, since {minute(agent.aws.created)}")


def book_of(config: Config) -> AgentStore:
    from wirekey.identity.agents import AgentStore

    return AgentStore(config.state / "agents.json")


def permissions_of(agent: AgentRecord) -> tuple[str, ...]:
    from wirekey.permissions import DEFAULT

    return DEFAULT if agent.permissions is None else agent.permissions


def agent_facts(agent: AgentRecord) -> dict[str, Any]:
    """Give what `--json` shows: all but the hashes."""
    return {
        "agent": agent.id,
        "role": agent.role,
        "type": agent.type,
        "permissions": permissions_of(agent),
        "created": stamp(agent.created),
        "revoked_at": stamp(agent.revoked_at),
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
            "former_until": stamp(agent.aws.former_until),
        },
    }


def works(token: TokenRecord | ClientRecord) -> bool:
    return token.expires_at is None or token.expires_at > datetime.now(UTC)


def ends(token: TokenRecord | ClientRecord) -> str:
    if token.expires_at is None:
        return "when rotated"
    return minute(token.expires_at) if works(token) else f"ended {minute(token.expires_at)}"


def stamp(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def day(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d}"


def minute(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
