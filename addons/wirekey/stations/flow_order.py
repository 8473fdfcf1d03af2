"""The stations in the order in which a call passes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.stations.audit import Audit
from wirekey.stations.call_log import CallLog
from wirekey.stations.connections import Connections, RequestBegins
from wirekey.stations.credentials import Credentials
from wirekey.stations.egress import Egress
from wirekey.stations.endpoints import Endpoints
from wirekey.stations.entrance import Entrance
from wirekey.stations.failover import Failover
from wirekey.stations.gateway import Gateway
from wirekey.stations.identity import Identity
from wirekey.stations.marks import Marks
from wirekey.stations.metering import Metering
from wirekey.stations.metrics import Metrics
from wirekey.stations.models import Models
from wirekey.stations.policy import Policy
from wirekey.stations.recognition import Recognition
from wirekey.stations.routing import Routing
from wirekey.stations.traces import Traces

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.stations.house import House


def stations(
    house: House, config: Config | None = None, simulator: bool | None = None
) -> tuple[
    Entrance,
    RequestBegins,
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
    Marks,
    Traces,
    Metrics,
    Endpoints,
]:
    """Make them. Without `config` the entrance reads it as mitmproxy's option `wirekey` says."""
    entrance = Entrance(house, config, simulator)
    metrics = Metrics(house, entrance)
    endpoints = Endpoints(house, entrance, metrics.pages)
    metrics.ready = endpoints.ready
    return (
        entrance,  # opens the house, keeps it current, closes it
        RequestBegins(house),  # nothing is decided here: a request is under way
        CallLog(house),  # no call waits for it: it says how each ended
        Gateway(house, endpoints.desk),  # a base_url's path becomes a provider's; our own endpoints answer
        Identity(house),  # who calls: first, so that each refusal names the agent
        Connections(house),  # how many connections has this client, and has it said in time who it is
        Egress(house),  # may this host, port and address be reached; do all names agree
        Recognition(house),  # what is asked: operation, model, counts
        Policy(house),  # may it
        Models(house),  # the gateway itself says which models there are
        Routing(house),  # which model is sent, and where it is dialled
        Credentials(house),  # which key, for the wire layer to put on
        Failover(house),  # once more by another way, where an attempt failed
        Metering(house),  # a tap on the passing answer
        Audit(house),  # intent before the wire, outcome after
        Marks(house),  # what mitmweb and dumps show of it
        Traces(house, entrance),  # no call passes it: it opens and closes what hears of each
        metrics,  # no call passes it: it counts them for /metrics
        endpoints,  # no call passes it: it answers for tokens and health
    )
