"""Generates the reference of the command line from the commands: `python -m wirekey.cli.reference`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wirekey.cli.main import group

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH = 96
HEAD = """\
# The command line

<!-- Made by `python -m wirekey.cli.reference` from the commands; change those. -->

`./run.sh WORDS` updates `.venv` to the lock file and runs `wirekey WORDS` in the checkout. Without words it runs
`wirekey serve`. `./run.sh test` runs the tests.

Exit codes: 0 fine, 1 a problem was found, 2 wrong usage. `exec` exits with the code of its program: 128 plus the signal
number if a signal ended it, 127 if there is no such program.

Paths on the command line are relative to the current folder, which is the checkout under `./run.sh`. So is
`wirekey.yaml`, unless `--config` names another file."""


def commands(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield (words on the command line, command), each group before its commands."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            assert member
            yield from commands(member, (*words, name))


def page() -> str:
    """Return the content of docs/reference/command-line.md."""
    parts = [HEAD]
    for words, command in commands(group, ("wirekey",)):
        context = click.Context(
            command,
            info_name=" ".join(words),
            terminal_width=WIDTH,
            max_content_width=WIDTH,
            help_option_names=["-h", "--help"],
        )
        level = "##" if len(words) <= 2 else "###"
        parts.append(f"{level} `{' '.join(words)}`\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(page(), end="")
