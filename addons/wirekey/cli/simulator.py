"""wirekey simulator: run the simulator of the providers on its own."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from wirekey.core.errors import UserError


@click.command("simulator")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8443, show_default=True, help="0 for any free port.")
@click.option(
    "--certificates",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("state/simulator"),
    show_default=True,
    help="The folder of its CA.",
)
@click.option("--tls/--cleartext", default=True, help="Cleartext is for benchmarks. Most SDKs need TLS.")
def command(host: str, port: int, certificates: Path, *, tls: bool) -> None:
    """Simulate the providers over TLS. It accepts any key in the right place."""
    from wirekey_simulator.server import Simulator, run_simulator

    def announce(simulator: Simulator) -> None:
        click.echo(f"The simulator listens on {simulator.url}")
        if simulator.tls:
            click.echo(f"Make clients trust {simulator.ca_file.resolve()}, for example with SSL_CERT_FILE.")
        click.echo("Control it with the header x-simulator, for example: x-simulator: events=20, pace=0.05")

    try:
        asyncio.run(run_simulator(certificates, host, port, tls=tls, announce=announce))
    except KeyboardInterrupt:
        sys.exit(0)
    except OSError as error:
        # asyncio puts a longer text into strerror.
        reason = os.strerror(error.errno) if error.errno else error
        raise UserError(f"the simulator cannot listen on {host}:{port}: {reason}. Try --port 0.") from error
