"""wirekey simulator: the stand-in for the providers, by itself."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from wirekey.errors import UserError


@click.command("simulator")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8443, show_default=True, help="0 takes a free one.")
@click.option(
    "--certificates",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("state/simulator"),
    show_default=True,
    help="Where its own CA is kept.",
)
@click.option("--tls/--cleartext", default=True, help="Cleartext is for benchmarks: most SDKs want TLS.")
def command(host: str, port: int, certificates: Path, *, tls: bool) -> None:
    """Stand in for OpenAI, Gemini, Anthropic and Bedrock over TLS: any key in the right place is good."""
    from wirekey_simulator.server import Simulator, run_simulator

    def announce(simulator: Simulator) -> None:
        click.echo(f"The simulator listens on {simulator.url}")
        if simulator.tls:
            click.echo(f"Trust {simulator.ca_file.resolve()}, for example with SSL_CERT_FILE.")
        click.echo("Set its behaviour with the header x-simulator, as in: x-simulator: events=20, pace=0.05")

    try:
        asyncio.run(run_simulator(certificates, host, port, tls=tls, announce=announce))
    except KeyboardInterrupt:
        sys.exit(0)
    except OSError as error:
        # asyncio writes a sentence of its own into strerror.
        reason = os.strerror(error.errno) if error.errno else error
        raise UserError(f"the simulator cannot listen on {host}:{port}: {reason}. Try --port 0.") from error
