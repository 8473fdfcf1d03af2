"""wirekey agents aws-key, and the option --aws of wirekey agents add."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.moments import span
from wirekey.cli.options import as_json_option, with_config
from wirekey.core.command_name import COMMAND
from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.cli.agent_commands import AddedAgent
    from wirekey.config import Config
    from wirekey.core.identity.aws_pairs import KeyPair

AWS_OPTION = click.Option(
    ["--aws"],
    is_flag=True,
    help="Also create an AWS key pair. AWS SDKs sign with it, and Wirekey re-signs for Bedrock.",
)


@click.command("aws-key")
@with_config
@click.argument("name")
@click.option("--rotate", "rotated", is_flag=True, help="Replace its key pair with a new one.")
@click.option("--overlap", default="0", callback=span, help="How long the old pair still works: 90, 15m, 2h, 7d.")
@as_json_option
def command(config: Config, name: str, overlap: float, *, rotated: bool, as_json: bool) -> None:
    """Create an AWS key pair for agent NAME and print it. AWS SDKs sign with it as with any other."""
    from wirekey.server import installation

    agents = installation.agent_store(config)
    if rotated:
        previous = f"The old one still works for {overlap:g} s." if overlap else "The old one has stopped working."
        print_key_pair(
            config,
            name,
            agents.rotate_pair(name, overlap),
            f"{name} has a new AWS key pair. {previous}",
            as_json=as_json,
        )
    elif agents.agent(name).aws:
        raise UserError(
            f"{name} already has an AWS key pair, which was shown once. To create a new one: "
            f"{COMMAND} agents aws-key {name} --rotate"
        )
    else:
        print_key_pair(config, name, agents.pair(name), f"{name} has an AWS key pair.", as_json=as_json)


def print_pair_of_added(added: AddedAgent, values: Mapping[str, Any]) -> None:
    """Create and print the key pair of an agent that was added with `--aws`."""
    if values["aws"]:
        print_key_pair(added.config, added.name, added.agents.pair(added.name), "", as_json=added.as_json)


def print_key_pair(config: Config, name: str, pair: KeyPair, news: str, *, as_json: bool) -> None:
    """Print a new AWS key pair and how to use it. `news` is a sentence to begin with."""
    region, secret = config.providers.bedrock.regions[0], pair.secret.reveal()
    if as_json:
        facts = {"agent": name, "access_key_id": pair.access_key, "secret_access_key": secret, "region": region}
        click.echo(json.dumps(facts))
        return
    click.echo(
        f"{news} This is its AWS key pair. The secret is not shown again:\n\n".lstrip()
        + f"  export AWS_ACCESS_KEY_ID={pair.access_key}\n"
        f"  export AWS_SECRET_ACCESS_KEY={secret}\n"
        f"  export AWS_REGION={region}\n\n"
        "AWS SDKs and the AWS CLI sign with it as with any other. AWS does not know it: Wirekey verifies their "
        "signature\nand signs again with the organisation's credentials."
    )
