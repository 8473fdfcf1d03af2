"""Keeps the token of a program valid for minutes at a time, while `exec` runs, and revokes it at the end.

If `exec` is killed, nothing renews the token, so it ends soon whatever happens to the program.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING

import click

from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wirekey.cli.program_token import Program
    from wirekey.config import Config

LIFETIME = 15 * 60
"""Seconds for which a token is valid without a renewal."""
RENEWABLE = 365 * 86400
"""Seconds for which it is renewed at most."""
RENEW_AFTER = 5 * 60
"""Seconds between two renewals of a token with this lifetime; fewer for one with a shorter lifetime."""
RETRY_AFTER = 30
LOOK_EVERY = 5
"""Seconds between two looks at the clock. A waiting thread does not notice that the computer slept."""


@contextlib.contextmanager
def renewed_token(config: Config, program: Program, lifetime: float = LIFETIME) -> Iterator[None]:
    """Renew the token while the program runs, and revoke it when the program has ended.

    `lifetime`: seconds for which it is valid without a renewal.
    """
    from wirekey.server.installation import agent_store

    agents = agent_store(config)
    ended = threading.Event()
    renewing = threading.Thread(
        target=renew_until,
        args=(ended, lambda: agents.renew_token(program.agent, program.token, lifetime)),
        kwargs={"every": lifetime * RENEW_AFTER / LIFETIME},
        name="wirekey-renewal",
        daemon=True,
    )
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join(LOOK_EVERY)
        try:
            agent_store(config).drop_token(program.agent, program.token)
        except UserError as error:
            click.echo(f"wirekey: the program's token could not be revoked, but it expires: {error}", err=True)


def renew_until(
    ended: threading.Event,
    renew: Callable[[], None],
    clock: Callable[[], float] = time.time,
    every: float = RENEW_AFTER,
) -> None:
    """Call `renew` every few minutes until the program has ended, or its token was revoked. Blocks."""
    from wirekey.core.identity.agents_format import AgentError

    # Only the main thread passes signals on, and it must be the one that they interrupt.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    tried = clock()
    due = tried + every
    while not ended.wait(LOOK_EVERY):
        now = clock()
        if tried <= now < due:  # a clock that was set back makes it due
            continue
        try:
            renew()
        except AgentError:
            return  # the program's next call is refused with the reason
        except UserError:
            due = now + RETRY_AFTER
        else:
            due = now + every
        tried = now
