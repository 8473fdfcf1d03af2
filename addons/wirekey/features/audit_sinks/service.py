"""The sinks of one process: which of the processes that share an audit log delivers, and whether a sink takes events.

Every process has the service, as each may get the next call. The one that has claimed the delivery has a thread for
each sink, and stores whether they take events. The others read that.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wirekey.core.audit.audit_log import AuditDatabaseError
from wirekey.core.audit.following import heads
from wirekey.features.audit_sinks.config import AuditSinksSetting
from wirekey.features.audit_sinks.delivery import Delivery, document_of, places_of
from wirekey.features.audit_sinks.making import sinks_of
from wirekey.server.audit_store import audit_database
from wirekey.server.feature_parts import Measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wirekey.config import Config
    from wirekey.core.audit.audit_log import AuditDatabase
    from wirekey.core.audit.store import AuditStore
    from wirekey.core.calls.services import Services
    from wirekey.feature import FeatureValues
    from wirekey.features.audit_sinks.delivery import SinkState
    from wirekey.features.audit_sinks.sink import Sink

logger = logging.getLogger(__name__)

TURN = 0.5
"""Seconds between two turns of the keeper."""
BEAT = 5.0
"""Seconds after which the process that delivers shows again that it does."""
SILENCE = 30.0
"""Seconds without this sign, after which the others assume that nothing is delivered."""
ENDING = 5.0
"""Seconds for the delivery of the last events at the end of the process."""
PROCESS = "."
"""The name of the document of the process that delivers. No sink has such a name."""
NOT_YET = "no audit sink has accepted events yet"
NO_SINK = "no audit sink accepts events"
NOT_DELIVERED = "no process delivers events to the audit sinks"
REFUSALS = (None, NOT_YET, NO_SINK)
"""The values that the process which delivers may store."""

MEASURES: tuple[tuple[str, Literal["gauge", "counter"], str, Callable[[SinkState], float]], ...] = (
    (
        "wirekey_audit_sink_accepts",
        "gauge",
        "Whether an audit sink accepted the last delivery or check.",
        lambda state: float(state.accepts),
    ),
    (
        "wirekey_audit_sink_waiting_links",
        "gauge",
        "Links of the audit log that wait for an audit sink. A call that was sent has two.",
        lambda state: state.waiting,
    ),
    (
        "wirekey_audit_sink_events_total",
        "counter",
        "Events that an audit sink has accepted.",
        lambda state: state.delivered,
    ),
    (
        "wirekey_audit_sink_failures_total",
        "counter",
        "Deliveries and checks that an audit sink did not accept. They are tried again.",
        lambda state: state.failures,
    ),
    (
        "wirekey_audit_sink_missing_events_total",
        "counter",
        "Events that an audit sink does not get: deleted from the audit log too early, or rejected for good.",
        lambda state: state.missing,
    ),
)
"""Name, kind, help text and value of each metric of a sink."""


class AuditSinks:
    """The sinks of one process. `required`: whether calls are refused while none of them takes events."""

    def __init__(self, database: AuditDatabase, sinks: Mapping[str, Sink], *, required: bool) -> None:
        self.required = required
        self.refusal: str | None = NOT_YET if required else None
        """Why calls are refused, in words that a client may see, or None. Always None if no sink is required."""
        self._database, self._kept = database, database.delivery_state()
        self._turns, self._stopping = threading.Event(), threading.Event()
        self.deliveries = [Delivery(name, sink, database, self._kept, self._turns.set) for name, sink in sinks.items()]
        self.delivers = False
        """Whether this process delivers."""
        self._thread: threading.Thread | None = None
        self._prepared = 0
        """The claim under which the places of new sinks were noted."""
        self._turned_at = time.monotonic()
        self._beat, self._beat_at = 0, float("-inf")
        self._seen: object = None
        self._seen_at = time.monotonic()
        self._trouble: str | None = None

    def prepare(self) -> None:
        """Claim the delivery, if no other process has it, and note where the sinks start. Blocks."""
        try:
            self._claim()
        except AuditDatabaseError as error:
            self._report(error)

    def start(self, store: AuditStore) -> None:
        """Start the delivery, once. From now on, calls are refused if that is necessary."""
        if self.required:
            store.also_needs = lambda: self.refusal
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="wirekey-sinks", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Deliver what waits, for at most some seconds, and leave the delivery to others. Blocks."""
        self._stopping.set()
        self._turns.set()
        if self._thread:
            self._thread.join(ENDING)
        for delivery in self.deliveries:
            delivery.stop(ENDING)
        late = [delivery.name for delivery in self.deliveries if not delivery.join()]
        for name in late:
            logger.warning("The audit sink %s did not end within %g s. The next start delivers the rest.", name, ENDING)
        self._kept.close()

    # The keeper's thread.

    def _keep(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
                self._trouble, self._turned_at = None, time.monotonic()
            except AuditDatabaseError as error:
                self._report(error)
                if self.required and time.monotonic() - self._turned_at > SILENCE:
                    self.refusal = NOT_DELIVERED
            except Exception:
                logger.exception("The delivery to audit sinks has failed")
                self.refusal = NOT_DELIVERED if self.required else None
            self._turns.wait(TURN)
            self._turns.clear()

    def _turn(self) -> None:
        self.delivers = self._claim()
        if self.delivers:
            for delivery in self.deliveries:
                delivery.start()
            self._show()
        else:
            self._look()

    def _claim(self) -> bool:
        """Claim the delivery. The places of new sinks are noted before there are calls. Raises AuditDatabaseError."""
        claim = self._kept.claim()
        if not claim or claim == self._prepared:
            return bool(claim)
        if self.required:  # first of all: others must not go by what an earlier process has stored
            self._store_refusal()
        known, ends = self._kept.read(), self._ends()
        for delivery in self.deliveries:
            stored = known.get(delivery.name)
            places = ends if stored is None else within(places_of(stored), ends)
            if stored is None or places != places_of(stored):
                self._kept.write(delivery.name, document_of(places))
        self._prepared = claim
        return True

    def _ends(self) -> dict[int, int]:
        if not self._database.exists():
            return {}
        with self._database.reading() as reader:
            return heads(reader)

    def _show(self) -> None:
        """Decide whether calls are refused, and store that for other processes."""
        if not self.required:
            return
        now = time.monotonic()
        takes = any(each.sink.confirms and each.state.takes_events(now) for each in self.deliveries)
        has_tried = any(each.state.accepts or each.state.failure for each in self.deliveries)
        refusal = None if takes else NO_SINK if has_tried else NOT_YET
        if refusal != self.refusal or now - self._beat_at >= BEAT:
            self._beat_at, self.refusal = now, refusal
            self._store_refusal()

    def _store_refusal(self) -> None:
        self._beat += 1
        self._kept.write(PROCESS, {"beat": self._beat, "refusal": self.refusal})

    def _look(self) -> None:
        """Read what the process that delivers has stored."""
        if not self.required:
            return
        now = time.monotonic()
        if (found := self._kept.read().get(PROCESS)) != self._seen:
            self._seen, self._seen_at = found, now
        refusal = found.get("refusal", NOT_DELIVERED) if found else NOT_DELIVERED
        if now - self._seen_at > SILENCE or refusal not in REFUSALS:
            refusal = NOT_DELIVERED
        self.refusal = refusal

    def _report(self, error: AuditDatabaseError) -> None:
        if str(error) != self._trouble:
            logger.warning("Events cannot be delivered to audit sinks: %s", error)
        self._trouble = str(error)


def within(places: dict[int, int], ends: Mapping[int, int]) -> dict[int, int]:
    """Return places, none of which is behind the end of its chain: an older copy of the log may have been restored."""
    return {writer: min(place, ends.get(writer, 0)) for writer, place in places.items()}


@dataclass(frozen=True, slots=True)
class OpenedSinks:
    """The sinks, and the services whose audit store asks them."""

    sinks: AuditSinks
    services: Services

    def close(self) -> None:
        """Deliver what waits, and end. Blocks."""
        self.sinks.close()


def open_sinks(config: Config, services: Services) -> OpenedSinks | None:
    """Return the sinks of a configuration, or None. Raises ConfigError."""
    settings = config.audit.part(AuditSinksSetting)
    if not settings.sinks:
        return None
    made = sinks_of(config, lambda host, port: services.settings.proxies.proxy_for(host, port))  # noqa: PLW0108  # the settings may be replaced
    sinks = AuditSinks(audit_database(config), made, required=settings.require_sink)
    sinks.prepare()
    return OpenedSinks(sinks, services)


def sinks_in(opened: FeatureValues) -> AuditSinks | None:
    """Return the sinks, or None without any."""
    found = opened.find(OpenedSinks)
    return found.sinks if found else None


def begin(opened: FeatureValues) -> None:
    """Start the delivery, if there are sinks."""
    if found := opened.find(OpenedSinks):
        found.sinks.start(found.services.store)


async def end(opened: FeatureValues) -> None:
    """Leave the end to `close`: what waits is delivered after the last call was recorded."""


def warnings(opened: FeatureValues) -> Iterator[str]:
    """Yield what is logged at the start."""
    if sinks := sinks_in(opened):
        for each in sinks.deliveries:
            yield f"Calls are also sent to the audit sink {each.name} ({each.sink.place})."


def banner(_: FeatureValues) -> Iterator[str]:
    """Yield no lines of the startup banner."""
    yield from ()


def notes(opened: FeatureValues) -> Iterator[tuple[str, str, str]]:
    """Yield the entries of the live page: sinks that do not accept events."""
    sinks = sinks_in(opened)
    for each in sinks.deliveries if sinks else ():
        if each.state.failure:
            text = f"The audit sink {each.name} ({each.sink.place}) does not accept events: {each.state.failure}."
            refused = sinks is not None and sinks.refusal is not None
            fix = "Calls are refused until a sink accepts events." if refused else "Events wait in the audit log."
            yield "bad" if refused else "warn", text, fix


def measures(opened: FeatureValues) -> Iterator[Measure]:
    """Yield the metrics of the process that delivers. Without sinks, they have no samples."""
    sinks = sinks_in(opened)
    states = {each.name: each.state for each in sinks.deliveries} if sinks and sinks.delivers else {}
    for name, kind, documentation, value in MEASURES:
        yield Measure(name, kind, documentation, ("sink",), {(sink,): value(state) for sink, state in states.items()})
