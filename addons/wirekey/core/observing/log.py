"""The log: readable lines on a terminal, JSON otherwise. One line per event, without secrets and without content.

Lines of Wirekey, mitmproxy and libraries use the same handler. A line that belongs to a call has its id as `call`.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import msgspec
import structlog

from wirekey.core.audit import checkpoints
from wirekey.core.audit.event import rfc3339
from wirekey.core.call import current_call_id
from wirekey.core.credentials.agent_tokens import text_without_tokens
from wirekey.core.observing.call_lines import CallLine, clock, pretty
from wirekey.core.observing.log_handler import AsyncLogHandler, async_log_handler
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from wirekey.config import LogConfig
    from wirekey.core.call import Call

calls = logging.getLogger("wirekey.calls")

LONGEST_VALUE = 2000
QUIET = ("mitmproxy", "asyncio", "hpack", "h2", "tornado", "botocore", "urllib3", "google", "opentelemetry")
"""Loggers that are limited to WARNING and above."""

encode = msgspec.json.Encoder(enc_hook=lambda value: type(value).__name__).encode


def cap_values(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask tokens, escape control characters and limit lengths: an event may contain data of clients and providers."""
    for name, value in event.items():
        if isinstance(value, str):
            value = text_without_tokens(value[: 2 * LONGEST_VALUE])  # noqa: PLW2901  # replaced by the masked value
            if len(value) > LONGEST_VALUE:
                value = value[:LONGEST_VALUE] + "…"  # noqa: PLW2901  # replaced by the shortened value
            event[name] = value if value.isprintable() else value.encode("unicode_escape").decode()
    return event


def describe_exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the kind and place of an exception. Its message may quote a call, and its variables may contain one."""
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()
    error = raised[1] if isinstance(raised, tuple) else raised
    if isinstance(error, BaseException):
        event["exception"] = safe_traceback(error)
    event.pop("stack_info", None)
    return event


def add_call(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the id of the call that the line belongs to: that of the log record, or that of the current task."""
    record = event.get("_record")
    if call_id := getattr(record, "call", None) or current_call_id.get():
        event["call"] = call_id
    return event


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """structlog's formatter, with a fast path for the line of each call."""

    def __init__(self, *, as_json: bool, colours: bool = False, dated: bool = True) -> None:
        self.as_json, self.colours, self.dated = as_json, colours, dated
        renderer: structlog.types.Processor
        if as_json:
            stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
            renderer = structlog.processors.JSONRenderer(serializer=lambda event, **_: encode(event).decode())
        else:
            stamp = structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S" if dated else "%H:%M:%S", utc=False)
            renderer = structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=0)
        self.stages: list[structlog.types.Processor] = [
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(allow=[]),
            add_call,
            stamp,
            describe_exception,
            cap_values,
        ]
        super().__init__(
            foreign_pre_chain=self.stages,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return self.format_call(record.msg) if isinstance(record.msg, CallLine) else super().format(record)

    def format_call(self, line: CallLine) -> str:
        """Return the line of a call."""
        if self.as_json:
            head = {"event": "call", "level": "info", "timestamp": rfc3339(line.created)}
            return encode(head | line.fields).decode()
        return f"{clock(line.created, dated=self.dated)} {pretty(line.fields, colours=self.colours)}"


def set_up_logging(settings: LogConfig) -> None:
    """Send all logging, including mitmproxy's, through structlog. Raises OSError if the file cannot be written."""
    on_terminal = settings.file is None and sys.stderr.isatty()
    as_json = settings.format == "json" if settings.format else not on_terminal
    handler = async_log_handler(settings.file)
    formatter = LineFormatter(as_json=as_json, colours=on_terminal and wants_colours(), dated=not on_terminal)
    handler.setFormatter(formatter)
    handler.format_call = formatter.format_call
    structlog.configure(
        processors=[*formatter.stages, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    root = logging.getLogger()
    previous, root.handlers[:] = list(root.handlers), [handler]
    for other in previous:
        if type(other) is type(handler):
            other.close()
    root.setLevel(settings.level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    checkpoints.logger.setLevel(logging.NOTSET if as_json or not on_terminal else logging.WARNING)


def wants_colours() -> bool:
    """Return whether the terminal supports colours and the user did not disable them (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class CallLines:
    """A call observer that logs how each call ended, at level info of the logger `wirekey.calls`."""

    def began(self, call: Call) -> None:
        """Do nothing: a call is logged when it ends."""

    def ended(self, call: Call) -> None:
        """Log the call. If Wirekey's own log is the only one, its thread makes the line."""
        if not calls.isEnabledFor(logging.INFO):
            return
        line = CallLine(call)
        handlers = calls.handlers or logging.getLogger().handlers
        only = handlers[0] if len(handlers) == 1 else None
        if isinstance(only, AsyncLogHandler):
            only.add(line)
        else:
            calls.info(line)
