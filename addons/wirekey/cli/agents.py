"""wirekey agents: who may call, and with which token."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from wirekey.cli.moments import span
from wirekey.cli.options import with_config
from wirekey.cli.table import table

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.identity.agents import AgentBook
    from wirekey.identity.roster import AgentRecord, TokenRecord

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class AgentsGroup(click.Group):
    """Ends with exit code 1 and a sentence where an agent or the agents' file forbids what is asked."""

    def invoke(self, ctx: click.Context) -> Any:
        from wirekey.identity.agents import AgentError, AgentsFileError

        try:
            return super().invoke(ctx)
        except (AgentError, AgentsFileError) as error:
            click.echo(f"wirekey: {error}", err=True)
            sys.exit(1)


@click.group("agents", cls=AgentsGroup)
def command() -> None:
    """Add, list and revoke agents. A running proxy follows at once."""


@command.command("add")
@with_config
@click.argument("name")
@click.option("--role", default=None, help="What policy and audit call its role.")
@click.option("--type", "kind", default=None, help="What policy and audit call its type.")
@as_json_option
def add(config: Config, name: str, role: str | None, kind: str | None, *, as_json: bool) -> None:
    """Add the agent NAME, and print its token, which is never shown again."""
    token = book_of(config).add(name, role=role, type=kind)
    tell_token(config, name, token, f"Added the agent {name}.", as_json=as_json)


@command.command("rotate")
@with_config
@click.argument("name")
@click.option("--overlap", default="0", callback=span, help="How long the former tokens still work: 90, 15m, 2h, 7d.")
@as_json_option
def rotate(config: Config, name: str, overlap: float, *, as_json: bool) -> None:
    """Replace the tokens of NAME by a new one, and print it."""
    token = book_of(config).rotate(name, overlap_seconds=overlap)
    former = f"still work for {overlap:g} s" if overlap else "work no more"
    tell_token(config, name, token, f"{name} has a new token; its former ones {former}.", as_json=as_json)


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
        ("created", minute(agent.created)),
        ("state", state),
    ):
        click.echo(f"{label:<8}  {value}")
    if agent.tokens:
        rows = [(token.id, token.label, minute(token.created), ends(token)) for token in agent.tokens]
        click.echo("\n" + table(("TOKEN", "LABEL", "CREATED", "ENDS"), rows))


def book_of(config: Config) -> AgentBook:
    from wirekey.identity.agents import AgentBook

    return AgentBook(config.state / "agents.json")


def tell_token(config: Config, name: str, token: str, news: str, *, as_json: bool) -> None:
    """Print a new token once, with what to do with it."""
    from wirekey.runtime import RunningProxy

    running = RunningProxy.read(config.state)
    host, port = (running.host, running.port) if running else (config.listen.forward.host, config.listen.forward.port)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    proxy = f"http://{quote(name, safe='')}:{token}@{address}"
    if as_json:
        click.echo(json.dumps({"agent": name, "token": token, "https_proxy": proxy}))
        return
    click.echo(
        f"{news} This is its token; it is shown this once:\n\n"
        f"  {token}\n\n"
        "Give it to the agent's programs as their proxy, with our CA:\n\n"
        f"  export HTTPS_PROXY={proxy}\n"
        f"  export SSL_CERT_FILE={config.certs.absolute() / 'bundle.pem'}\n\n"
        "or in place of the provider's key (OPENAI_API_KEY and the like). On this machine there is a shorter way:\n\n"
        f"  wirekey exec --agent {name} -- PROGRAM"
    )


def agent_facts(agent: AgentRecord) -> dict[str, Any]:
    """Give what `--json` shows: all but the hashes."""
    return {
        "agent": agent.id,
        "role": agent.role,
        "type": agent.type,
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
    }


def works(token: TokenRecord) -> bool:
    return token.expires_at is None or token.expires_at > datetime.now(UTC)


def ends(token: TokenRecord) -> str:
    if token.expires_at is None:
        return "when rotated"
    return minute(token.expires_at) if works(token) else f"ended {minute(token.expires_at)}"


def stamp(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def day(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d}"


def minute(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
