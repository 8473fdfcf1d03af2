"""What an agent's new credentials are printed with: once, and with what to do with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.identity.aws_pairs import KeyPair
    from wirekey.identity.clients import ClientCredentials


def tell_token(config: Config, name: str, token: str, news: str, *, as_json: bool) -> None:
    """Print a new token once, with what to do with it."""
    from wirekey.server.runtime import RunningProxy

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


def tell_pair(config: Config, name: str, pair: KeyPair, news: str, *, as_json: bool) -> None:
    """Print a new AWS key pair once, with what to do with it."""
    region, secret = config.providers.bedrock.regions[0], pair.secret.reveal()
    if as_json:
        facts = {"agent": name, "access_key_id": pair.access_key, "secret_access_key": secret, "region": region}
        click.echo(json.dumps(facts))
        return
    click.echo(
        f"{news} This is its AWS key pair; the secret is shown this once:\n\n".lstrip()
        + f"  export AWS_ACCESS_KEY_ID={pair.access_key}\n"
        f"  export AWS_SECRET_ACCESS_KEY={secret}\n"
        f"  export AWS_REGION={region}\n\n"
        "AWS SDKs and the AWS CLI sign with it as with any other. It is worth nothing to AWS: Wirekey verifies what "
        "they signed,\nand signs anew with the organisation's credentials."
    )


def tell_client(config: Config, name: str, new: ClientCredentials, news: str, *, as_json: bool) -> None:
    """Print new client credentials once, with what to do with them."""
    gateway = config.listen.gateway
    url = f"http://{gateway}/api/v1/auth/token" if gateway else None
    secret = new.client_secret.reveal()
    if as_json:
        facts = {"agent": name, "client_id": new.client_id, "client_secret": secret, "token_url": url}
        click.echo(json.dumps(facts))
        return
    click.echo(
        f"{news} These are its client credentials; the secret is shown this once:\n\n"
        f"  client_id      {new.client_id}\n"
        f"  client_secret  {secret}\n\n"
        "Its programs get tokens with them, each good for a while (grant_type client_credentials):\n\n"
        f"  {url or 'the gateway is off: set listen.gateway'}\n\n"
        "and use a token in place of the provider's key (OPENAI_API_KEY and the like), or in the proxy URL."
    )
