"""Runs the program of `exec` to its end: passes signals on, and ends the program if `exec` is killed."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wirekey.cli.process_tree import send, wait_for
from wirekey.core.command_name import CALLED_FROM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOT_FOUND = 127
NOT_STARTED = 126
PASSED_ON = ("SIGHUP", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")
"""Signals that would end `exec` before its program, and with it the renewal of the token."""
PR_SET_DUMPABLE = 4
"""prctl(2): whether processes of the same user may read the memory and the environment of this one."""
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when the one that started it has ended."""


def run(
    program: Sequence[str],
    environment: dict[str, str],
    started: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> int:
    """Run a program to its end and return its exit code. Programs are searched on PATH, then beside this Python.

    `started` gets the process of the program.
    """
    folder = Path(environment.pop(CALLED_FROM, "."))
    name = str(folder / program[0]) if os.sep in program[0] else program[0]
    found = shutil.which(name, path=environment.get("PATH")) or shutil.which(
        name, path=str(Path(sys.executable).parent)
    )
    if not found:
        click.echo(f"wirekey: {program[0]}: no such program", err=True)
        return NOT_FOUND
    # Ctrl-C reaches the program, too. It decides what to do, and its token is revoked when it has ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waiting = hold_signals()
    hide_environment()
    try:
        child = subprocess.Popen(
            [Path(found).absolute(), *program[1:]],
            env=environment,
            cwd=folder,
            preexec_fn=in_the_child(waiting),  # noqa: PLW1509  # no other thread holds a lock that it needs
        )
    except OSError as error:
        click.echo(f"wirekey: {found} cannot be started: {error.strerror}", err=True)
        return NOT_STARTED
    for number in waiting:
        # Not by the child's own method: it would wait for the child here.
        signal.signal(number, lambda received, _: send(child.pid, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, waiting)
    if started:
        started(child)
    code = wait_for(child)
    return code if code >= 0 else 128 - code


def hide_environment() -> None:
    """Keep the program from reading this process, whose environment may have keys. Only on Linux.

    Only a program that may trace processes of other users still can.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def hold_signals() -> set[signal.Signals]:
    """Block the signals that are passed on until there is a program, and return them.

    One that is ignored, as by nohup, stays ignored, also by the program.
    """
    signals = {getattr(signal, name) for name in PASSED_ON if hasattr(signal, name)}
    waiting = {number for number in signals if signal.getsignal(number) is not signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    return waiting


def in_the_child(waiting: set[signal.Signals]) -> Callable[[], None]:
    """Return what the new process does before it becomes the program."""
    # Loaded before the fork: after it, only what is certain not to wait for a lock may run.
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    parent = os.getpid()

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waiting)
        if prctl:
            prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
            if os.getppid() != parent:  # it was killed before
                os._exit(NOT_STARTED)

    return prepare
