"""The stations in the order in which a call passes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.addons.audit import Audit
from wirekey.addons.call_log import CallLog
from wirekey.addons.connections import Connections
from wirekey.addons.credentials import Credentials
from wirekey.addons.egress import Egress
from wirekey.addons.flow_comments import FlowComments
from wirekey.addons.gateway import Gateway
from wirekey.addons.identity import Identity
from wirekey.addons.metering import Metering
from wirekey.addons.metrics import Metrics
from wirekey.addons.models import Models
from wirekey.addons.policy import Policy
from wirekey.addons.recognition import Recognition
from wirekey.addons.request_start import RequestStart
from wirekey.addons.retry import Failover
from wirekey.addons.routing import Routing
from wirekey.addons.traces import Traces
from wirekey.server.endpoints import Endpoints
from wirekey.server.lifecycle import Lifecycle

if TYPE_CHECKING:
    from wirekey.calls.services import Services
    from wirekey.config import Config


def addons_in_order(
    services: Services, config: Config | None = None, simulator: bool | None = None
) -> tuple[
    Lifecycle,
    RequestStart,
    CallLog,
    Gateway,
    Identity,
    Connections,
    Egress,
    Recognition,
    Policy,
    Models,
    Routing,
    Credentials,
    Failover,
    Metering,
    Audit,
    FlowComments,
    Traces,
    Metrics,
    Endpoints,
]:
    """Make them. Without `config` the entrance reads it as mitmproxy's option `wirekey` says."""
    lifecycle = Lifecycle(services, config, simulator)
    metrics = Metrics(services, lifecycle)
    endpoints = Endpoints(services, lifecycle, metrics.pages)
    metrics.ready = endpoints.ready
    return (
        lifecycle,  # opens the house, keeps it current, closes it
        RequestStart(services),  # nothing is decided here: a request is under way
        CallLog(services),  # no call waits for it: it says how each ended
        Gateway(services, endpoints.router),  # a base_url's path becomes a provider's; our own endpoints answer
        Identity(services),  # who calls: first, so that each refusal names the agent
        Connections(services),  # how many connections has this client, and has it said in time who it is
        Egress(services),  # may this host, port and address be reached; do all names agree
        Recognition(services),  # what is asked: operation, model, counts
        Policy(services),  # may it
        Models(services),  # the gateway itself says which models there are
        Routing(services),  # which model is sent, and where it is dialled
        Credentials(services),  # which key, for the wire layer to put on
        Failover(services),  # once more by another way, where an attempt failed
        Metering(services),  # a tap on the passing answer
        Audit(services),  # intent before the wire, outcome after
        FlowComments(services),  # what mitmweb and dumps show of it
        Traces(services, lifecycle),  # no call passes it: it opens and closes what hears of each
        metrics,  # no call passes it: it counts them for /metrics
        endpoints,  # no call passes it: it answers for tokens and health
    )
