"""The page about the command line, made from the commands: `python -m wirekey.cli.reference` prints it."""

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

`./run.sh WORDS` runs `wirekey WORDS` in the checkout, after it has brought `.venv` in step with the lock file; without
a word it is `serve`, and `./run.sh test` runs the tests. Exit codes: 0 fine, 1 something was found wrong, 2 used wrong;
`exec` ends with the code of its program (128 and the signal's number where a signal ended it; 127 where there is no
such program).

Paths on the command line, and `wirekey.yaml` where `--config` does not name another file, are looked for in the current
folder, which is the checkout under `./run.sh`."""


def commands(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give (words on the command line, command), groups before what is in them."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            assert member
            yield from commands(member, (*words, name))


def page() -> str:
    """Give the page as it should stand in docs/reference/command-line.md."""
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
