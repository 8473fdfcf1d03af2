"""wirekey simulator: the stand-in for the providers, by itself."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click


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
def command(host: str, port: int, certificates: Path) -> None:
    """Stand in for OpenAI, Gemini, Anthropic and Bedrock over TLS: any key in the right place is good."""
    from wirekey.simulator.server import run_simulator

    try:
        asyncio.run(run_simulator(host=host, port=port, certificate_folder=certificates))
    except KeyboardInterrupt:
        sys.exit(0)
    except OSError as error:
        click.echo(f"wirekey: the simulator cannot listen on {host}:{port}: {error.strerror}. Try --port 0.", err=True)
        sys.exit(1)
