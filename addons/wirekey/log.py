"""The log: for people on a terminal, JSON otherwise. One line an event, never a secret, never content."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

from wirekey.failure import described

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from wirekey.config import Log

LONGEST_VALUE = 2000


def cap_values(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters and cap lengths: what clients and providers sent may stand in an event."""
    for name, value in event.items():
        if isinstance(value, str):
            if len(value) > LONGEST_VALUE:
                value = value[:LONGEST_VALUE] + "…"  # noqa: PLW2901  # the shortened value is what goes on
            event[name] = value if value.isprintable() else value.encode("unicode_escape").decode()
    return event


def describe_exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say what kind of exception came from where. Its message may quote a call, and its variables hold one."""
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()
    error = raised[1] if isinstance(raised, tuple) else raised
    if isinstance(error, BaseException):
        event["exception"] = described(error)
    event.pop("stack_info", None)
    return event


def set_up_logging(settings: Log) -> None:
    """Send all logging, mitmproxy's too, through structlog. mitmproxy itself speaks from WARNING on."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow=[]),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        describe_exception,
        cap_values,
    ]
    renderer: structlog.types.Processor
    if settings.format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=settings.file is None and sys.stderr.isatty())
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.FileHandler(settings.file) if settings.file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in ("mitmproxy", "asyncio", "hpack", "h2", "tornado", "botocore"):
        logging.getLogger(name).setLevel(logging.WARNING)
