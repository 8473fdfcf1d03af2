"""The addons in the order in which a call passes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.addons.audit import Audit
from wirekey.core.addons.call_log import CallLog
from wirekey.core.addons.connections import Connections
from wirekey.core.addons.credentials import Credentials
from wirekey.core.addons.draining import Draining
from wirekey.core.addons.egress import Egress
from wirekey.core.addons.gateway import Gateway
from wirekey.core.addons.identity import Identity
from wirekey.core.addons.metering import Metering
from wirekey.core.addons.models import Models
from wirekey.core.addons.order import AddonOrder, add_with_features
from wirekey.core.addons.policy import Policy
from wirekey.core.addons.recognition import Recognition
from wirekey.core.addons.request_start import RequestStart
from wirekey.core.addons.retry import Retry
from wirekey.core.addons.routing import Routing
from wirekey.core.calls.service_parts import add_services_of_features
from wirekey.server.endpoints import Endpoints
from wirekey.server.lifecycle import Lifecycle

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.calls.services import Services
    from wirekey.server.worker import Worker


def addons_in_order(
    services: Services, config: Config | None = None, simulator: bool | None = None, worker: Worker | None = None
) -> tuple[Lifecycle, *tuple[object, ...]]:
    """Return the addons of one process, in the order in which a call passes them.

    The list is that of the core. A feature has its addons behind one of these (`core/addons/order.py`).
    Without `config`, the configuration is read from the file that mitmproxy's option `wirekey` names.
    `worker`: the connection to the supervisor, if this process is one of several workers.
    """
    add_services_of_features(services)
    lifecycle = Lifecycle(services, config, simulator, worker)
    order = AddonOrder()
    endpoints = Endpoints(services, lifecycle, order.pages)
    core = (
        lifecycle,  # starts the services, reloads the configuration, stops them
        RequestStart(services),  # a request has begun: no deadline of its connection runs
        CallLog(services),  # names the call to the log, and logs a line at its end
        Gateway(services, endpoints.at_gateway),  # which provider does a path of a base_url mean, or which own endpoint
        Identity(services),  # which agent calls: first, so that each refusal names the agent
        Connections(services),  # may this client have one more connection; did it identify itself in time
        Egress(services),  # may this host, port and address be reached; do all names agree
        Recognition(services),  # which operation is this, of which model, with how many messages
        Policy(services),  # does the policy allow it
        Models(services),  # which models may this agent call, for lists of the gateway's own
        Routing(services),  # which models and upstreams are tried, in which order
        Credentials(services),  # which key goes with the first attempt
        Retry(services),  # what follows an attempt that failed
        Metering(services),  # how many tokens does the response count; what is removed from it
        Draining(services),  # which response is the last of its connection, because the process ends
        Audit(services),  # records the intent before the call is sent, the outcome after it ended
        endpoints,  # serves the console, health and tokens
    )
    add_with_features(core, services, order)
    return lifecycle, *order.addons[1:]
