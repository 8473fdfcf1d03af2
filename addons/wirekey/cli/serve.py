"""wirekey serve: the proxy, with what a newcomer needs printed once it listens."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import click

from wirekey.cli.options import with_config

if TYPE_CHECKING:
    from mitmproxy.master import Master

    from wirekey.config import Config
    from wirekey.stations.entrance import Entrance


@click.command("serve")
@with_config
@click.option("--web", is_flag=True, help="Show the flows in mitmweb, too, at 127.0.0.1:8081.")
@click.option(
    "--simulator/--no-simulator",
    default=None,
    help="Let the embedded simulator stand in for all providers. Default: only at a first look, without any key.",
)
def command(config: Config, *, web: bool, simulator: bool | None) -> None:
    """Serve: decide, account for, and put the key on each call that goes through."""
    sys.exit(asyncio.run(serve(config, web=web, simulator=simulator)))


async def serve(config: Config, *, web: bool, simulator: bool | None) -> int:
    from mitmproxy.exceptions import OptionsError

    from wirekey.log import set_up_logging
    from wirekey.master import IndexedAddonManager

    set_up_logging(config.log)
    try:
        master, entrance = make_master(config, web=web, simulator=simulator)
    except OptionsError as error:
        click.echo(f"wirekey: {error}", err=True)
        return 2
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, master.shutdown)
    if sys.stderr.isatty() or not web:
        entrance.announce = print_welcome
    assert web or isinstance(master.addons, IndexedAddonManager)
    try:
        await master.run()
    except SystemExit as ending:
        return int(ending.code or 0)
    return 0


def make_master(config: Config, *, web: bool, simulator: bool | None) -> tuple[Master, Entrance]:
    from mitmproxy.options import Options

    from wirekey.master import ServeMaster
    from wirekey.stations.flow_order import stations
    from wirekey.stations.house import House

    config.certs.mkdir(parents=True, exist_ok=True, mode=0o700)
    options = Options(confdir=str(config.certs))
    master: Master
    if web:
        from mitmproxy.tools.web.master import WebMaster

        master = WebMaster(options, with_termlog=False)
    else:
        master = ServeMaster(options)
    house = House()
    ours = stations(house, config, simulator)
    builtin = list(master.addons.chain)
    master.addons.add(*ours)
    # First in the chain, as scripts are: nobody sees a request before the client's credentials are off it.
    master.addons.chain[:] = [*ours, *builtin]
    ours[0].configure(set())
    return master, ours[0]


def print_welcome(entrance: Entrance) -> None:
    click.echo(welcome(entrance))


def welcome(entrance: Entrance) -> str:
    """Say what listens, which CA, which providers have keys, and how to run a program through it."""
    config, settings = entrance.config, entrance.house.settings
    assert config
    assert entrance.running_proxy
    lines = [f"Wirekey listens on {entrance.running_proxy.forward} (for HTTPS_PROXY).", ""]
    if settings.simulated:
        lines += [
            "SIMULATED: there is no provider key and no wirekey.yaml, so the embedded simulator answers every call.",
            "           Set OPENAI_API_KEY, GEMINI_API_KEY, ANTHROPIC_API_KEY or AWS_BEARER_TOKEN_BEDROCK and start",
            "           anew to reach the real ones.",
            "",
        ]
    for name, pool in settings.pools.items():
        count = len(pool.keys)
        keys = "simulated" if settings.simulated else f"{count} key{'s' * (count != 1)}" if count else "no key"
        hosts = ", ".join(host for host, provider in settings.hosts.items() if provider == name)
        lines.append(f"  {name:<10} {keys:<10} {hosts}")
    lines += [
        "",
        f"  CA         {config.certs / 'mitmproxy-ca-cert.pem'} (good for these hosts only)",
        f"  audit      {config.state / 'audit.db'}",
        "",
        "Run a program through it:       ./run.sh exec -- python my_program.py",
        "Or give an agent its own token: ./run.sh agents add alice",
        "See what was called:            ./run.sh audit tail",
    ]
    return "\n".join(lines)
