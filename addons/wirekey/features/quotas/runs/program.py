"""The run of a program that `exec` runs: begins with it, ends with it, and ends it if a limit is reached."""

from __future__ import annotations

import os
import secrets
import signal
import string
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET

from wirekey.cli import terminal
from wirekey.cli.process_tree import adopt_orphans, end_below, release_ended
from wirekey.cli.program_token import new_program, own_name
from wirekey.core.errors import UserError
from wirekey.core.identity.runs import LONGEST
from wirekey.features.quotas.runs.command import new_run, stored_runs
from wirekey.features.quotas.runs.options import RESERVE, limit_options
from wirekey.features.quotas.runs.summary import lines_of_models, settled_use, summary
from wirekey.features.quotas.runs.used import reached, use_of, used_of_models

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from wirekey.cli.program_limits import ProgramRequest
    from wirekey.cli.program_token import Program
    from wirekey.config import Config
    from wirekey.core.identity.runs import RunRecord

LIFETIME = 3 * 60.0
"""Seconds for which the token is valid if nothing renews it, as after `kill -9` of `exec`."""
EXHAUSTED = 75
"""EX_TEMPFAIL of sysexits.h: the exit code of `exec` if a limit has ended the program."""
LOOK_EVERY = 0.5
GRACE = 1.5
"""Seconds for which `exec --stop` waits for the records of the last calls of a program that failed."""
PATIENCE = 10.0
"""Seconds that the program and what it has started have to end after SIGTERM."""
NAME = string.ascii_lowercase + string.digits


def options() -> Sequence[click.Option]:
    """Return the options of `exec`."""
    return (
        *limit_options(),
        RESERVE,
        click.Option(["--run", "run_name"], metavar="NAME", help="Name of the run. Default: the agent and a number."),
        click.Option(
            ["--stop", "stops"],
            is_flag=True,
            help="Terminate PROGRAM and all that it has started when a limit of its run is reached, and exit with 75.",
        ),
    )


def begin(request: ProgramRequest, options: Mapping[str, Any]) -> RunningProgram | None:
    """Start a run for the program of `exec`, if an option asks for one. Raises AgentError."""
    given = dict(options)
    name, stops, reserve = given.pop("run_name"), given.pop("stops"), given.pop("reserve")
    if name is None and not any(given.values()):
        if stops or reserve == "expected":
            option = "--stop" if stops else "--reserve expected"
            raise click.UsageError(f"{option} needs a limit: --budget, --calls, --tokens or --for.")
        return None
    name = name or new_name(request.agent or own_name())
    program = new_program(
        request.config,
        request.agent,
        label="exec",
        lifetime=LIFETIME,
        renewable=LONGEST.total_seconds(),
        strict=request.strict,
        run=new_run(name, given, reserve),
    )
    click.echo(f"wirekey: this is the run {name}", err=True)
    return RunningProgram(request.config, program, name, stops=stops)


def new_name(agent: str) -> str:
    """Return a name for a run of an agent."""
    return f"{agent[:56]}-{''.join(secrets.choice(NAME) for _ in range(7))}"


class RunningProgram:
    """The program of `exec`, and its run, which ends with it."""

    lifetime = LIFETIME

    def __init__(self, config: Config, program: Program, run: str, *, stops: bool) -> None:
        self.config = config
        self.program = program
        self.run = run
        self._stops = stops
        self._ended = threading.Event()
        self._watching: threading.Thread | None = None
        self._terminal = terminal.settings()
        self.exhausted: str | None = None
        """The limit in words that has ended the program."""

    def watch(self, _: subprocess.Popen[bytes]) -> None:
        """Terminate the program and all that it has started when a limit is reached, if the user wants that."""
        if self._stops:
            adopt_orphans()
            self._watching = threading.Thread(target=self._watch, name="wirekey-run", daemon=True)
            self._watching.start()

    def _watch(self) -> None:
        # Only the main thread passes signals on, and it must be the one that they interrupt.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self._ended.wait(LOOK_EVERY):
            try:
                self.exhausted = self._limit_reached()
            except UserError:
                continue
            if self.exhausted:
                break
        else:
            return
        click.echo(f"wirekey: the run {self.run} has ended the program: {self.exhausted}", err=True)
        end_below(os.getpid(), PATIENCE)

    def _limit_reached(self) -> str | None:
        """Return the limit in words that is reached, or None. A run that was stopped has no calls left."""
        record = self._record()
        if record.ended_at is not UNSET:
            return "it was stopped"
        return reached(record, use_of(self.config, record, warns=False), datetime.now(UTC))

    def _limit_that_refused(self) -> str | None:
        """Return the limit in words for which the program gave up before it was terminated, or None.

        A proxy writes what a call has used, and that it has refused the next one, a moment after the response. So this
        waits for a short time, and longer if a call was refused.
        """
        began = time.monotonic()
        while (limit := self._limit_reached()) is None:
            waited = time.monotonic() - began
            if waited > PATIENCE or (waited > GRACE and not self._was_refused()):
                return None
            time.sleep(LOOK_EVERY)
        return limit

    def _was_refused(self) -> bool:
        return any(counts.denials for _, counts in used_of_models(self.config, self._record()))

    def _record(self) -> RunRecord:
        return stored_runs(self.config).find(self.run).record

    def finish(self, code: int) -> int:
        """End the run, and print what it has used. Return the exit code of `exec`."""
        self._ended.set()
        if self._watching:
            self._watching.join(2 * PATIENCE)
        try:
            if code and self._stops and not self.exhausted:
                self.exhausted = self._limit_that_refused()
            if self.exhausted:
                end_below(os.getpid(), PATIENCE)
                release_ended()
                terminal.restore(self._terminal)
            stored_runs(self.config).end(self.run, self.program.token)
            record = self._record()
            use = settled_use(lambda: use_of(self.config, record))
            click.echo(f"wirekey: {summary(record, use)}", err=True)
            for line in lines_of_models(used_of_models(self.config, record)):
                click.echo(f"wirekey:   {line}", err=True)
        except UserError as error:
            click.echo(f"wirekey: the use of the run {self.run} is not known: {error}", err=True)
        return EXHAUSTED if self.exhausted else code
