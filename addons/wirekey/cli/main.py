"""The `wirekey` command. Each sub-command's module is imported only when it is called."""

from __future__ import annotations

import importlib
import importlib.util

import click

COMMANDS = {
    "serve": "Run the proxy.",
    "exec": "Run a program behind it.",
    "env": "Print the variables for programs behind it.",
    "doctor": "Check clients, keys, ports, clock and upstreams, and say the fix.",
    "demo": "Make a whole round: simulator, proxy, SDK calls, audit.",
    "agents": "Add, list and revoke agents.",
    "audit": "See and export what was called.",
    "console": "Print a link to the live page.",
    "policy": "Check policies, ask them, and replay recorded calls.",
    "ca": "See and renew the CA.",
    "config": "Check and show the configuration.",
    "simulator": "Stand in for the providers.",
}
"""Command → its line in the help. It lives in `wirekey.cli.NAME` under the name `command`."""


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if importlib.util.find_spec(f"wirekey.cli.{name}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"wirekey.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them, which would be half of mitmproxy."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=None, message="%(version)s", version="0.1.0", prog_name="wirekey")
def group() -> None:
    """Wirekey stands between programs and LLM providers: it holds the keys, and accounts for each call.

    Exit codes: 0 fine, 1 something was found wrong, 2 used wrong.
    """


def main() -> None:
    group(prog_name="wirekey")
