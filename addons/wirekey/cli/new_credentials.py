"""Prints new credentials of an agent, once, with instructions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from wirekey.core.command_name import COMMAND

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.identity.clients import ClientCredentials


def print_token(config: Config, name: str, token: str, news: str, *, as_json: bool) -> None:
    """Print a new token and how to use it. `news` is a sentence to begin with."""
    from wirekey.server.runtime import RunningProxy

    running = RunningProxy.read(config.state)
    host, port = (running.host, running.port) if running else (config.listen.forward.host, config.listen.forward.port)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    proxy = f"http://{quote(name, safe='')}:{token}@{address}"
    if as_json:
        click.echo(json.dumps({"agent": name, "token": token, "https_proxy": proxy}))
        return
    click.echo(
        f"{news} This is its token. It is not shown again:\n\n"
        f"  {token}\n\n"
        "Set it as the proxy of the agent's programs, with Wirekey's CA:\n\n"
        f"  export HTTPS_PROXY={proxy}\n"
        f"  export SSL_CERT_FILE={config.certs.folder.absolute() / 'bundle.pem'}\n\n"
        "or use it in place of the provider's key (OPENAI_API_KEY and the like). On this machine, this is enough:\n\n"
        f"  {COMMAND} exec --agent {name} -- PROGRAM"
    )


def print_client(config: Config, name: str, new: ClientCredentials, news: str, *, as_json: bool) -> None:
    """Print new client credentials and how to use them. `news` is a sentence to begin with."""
    gateway = config.listen.gateway
    url = f"http://{gateway}/api/v1/auth/token" if gateway else None
    secret = new.client_secret.reveal()
    if as_json:
        facts = {"agent": name, "client_id": new.client_id, "client_secret": secret, "token_url": url}
        click.echo(json.dumps(facts))
        return
    click.echo(
        f"{news} These are its client credentials. The secret is not shown again:\n\n"
        f"  client_id      {new.client_id}\n"
        f"  client_secret  {secret}\n\n"
        "Its programs exchange them for short-lived tokens (grant_type client_credentials) at:\n\n"
        f"  {url or 'nowhere, as the gateway is off: set listen.gateway'}\n\n"
        "They use a token in place of the provider's key (OPENAI_API_KEY and the like), or in the proxy URL."
    )
