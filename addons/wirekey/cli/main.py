"""The `wirekey` command. Each sub-command's module is imported only when it is called."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from wirekey.core.errors import UserError
from wirekey.feature import AddedCommand
from wirekey.feature_registry import features

COMMANDS = {
    "init": "Write a first configuration, policy and agent.",
    "serve": "Run the proxy.",
    "exec": "Run a program with its calls going through Wirekey.",
    "env": "Print the variables for programs that use Wirekey.",
    "agents": "Add, import, change and revoke agents.",
    "audit": "Show, export and verify recorded calls.",
    "prices": "Show prices of models, and models without one.",
    "policy": "Check and evaluate policies, and replay recorded calls.",
    "ca": "Show and renew the CA.",
    "config": "Check and show the configuration.",
    "simulator": "Run the simulator of the providers.",
}
"""Command of the core → its line in the help. The command is `wirekey.cli.NAME.command`."""


def commands() -> dict[str, AddedCommand]:
    """Return the commands whose module exists, in the order of the help: those of the core, then those of features."""
    of_core = [AddedCommand(name, line, f"wirekey.cli.{name}") for name, line in COMMANDS.items()]
    of_features = [command for feature in features() for command in feature.commands]
    return {each.name: each for each in (*of_core, *of_features) if importlib.util.find_spec(each.module)}


def loaded(added: AddedCommand) -> click.Command:
    """Import a command and return it, with the commands that features add to it, whose names begin with its own."""
    command: click.Command = importlib.import_module(added.module).command
    assert isinstance(command, click.Command)
    for name, below in commands().items():
        if name.startswith(f"{added.name} ") and isinstance(command, click.Group):
            command.add_command(loaded(below))
    return command


class LazyGroup(click.Group):
    """Imports the module of a command when the command is used, and prints the errors that are meant for people."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. For a UserError, print its text and exit with its exit code."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(error.report(), err=True)
            sys.exit(error.exit_code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help."""
        return [name for name in commands() if " " not in name]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and return it, or None if there is no such command."""
        found = commands().get(cmd_name)
        return loaded(found) if found else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin with `incomplete`, without importing them, and matching options."""
        named = [each for each in commands().values() if each.name.startswith(incomplete) and " " not in each.name]
        found = [CompletionItem(each.name, help=each.help) for each in named]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them, as that would import most of mitmproxy."""
        with formatter.section("Commands"):
            formatter.write_dl([(each.name, each.help) for each in commands().values() if " " not in each.name])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=None, message="%(version)s", version="0.1.0", prog_name="wirekey")
def group() -> None:
    """Wirekey is a proxy between programs and LLM providers. It holds the keys, and decides and records each call.

    Exit codes: 0 fine, 1 a problem was found, 2 wrong usage.
    """


def main() -> None:
    """Run the `wirekey` command and exit."""
    group(prog_name="wirekey")
