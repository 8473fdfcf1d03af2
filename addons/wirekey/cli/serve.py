"""wirekey serve: run the proxy."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.options import with_config
from wirekey.cli.process import serve
from wirekey.cli.serving import ServeRequest, Serving, WebOptions
from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from wirekey.config import Config


@click.command("serve")
@with_config
@click.option("--web", is_flag=True, help="Also show the flows in mitmweb at 127.0.0.1:8081.")
@click.option("--web-port", type=click.IntRange(1, 65535), default=8081, help="The port of --web.")
@click.option(
    "--keep-responses",
    is_flag=True,
    help="With --web: keep the responses of models, and show them to everyone who can open the page.",
)
@click.option(
    "--simulator/--no-simulator",
    default=None,
    help="Use the embedded simulator instead of the providers. Default: only without any key and without wirekey.yaml.",
)
def command(
    config: Config,
    *,
    web: bool,
    web_port: int,
    keep_responses: bool,
    simulator: bool | None,
    **of_feature: Any,
) -> None:
    """Run the proxy: decide and record each call, and add the provider's key."""
    if keep_responses and not web:
        raise click.UsageError("--keep-responses needs --web, which shows the responses.")
    request = ServeRequest(config, WebOptions(web_port, keep_responses) if web else None, simulator)
    if serving:
        sys.exit(serving.run(request, of_feature))
    sys.exit(asyncio.run(serve(request)))


serving = next(parts(Serving), None)
if serving:
    command.params += serving.options()
