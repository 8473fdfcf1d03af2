"""The APIs that the simulator stands in for. To add one, add its module and an entry here."""

from __future__ import annotations

import re
from dataclasses import dataclass

BEARER = frozenset({"authorization"})
VERTEX_HOST = re.compile(r"(?:[a-z0-9-]+-)?aiplatform\.(?:(?:us|eu)\.rep\.)?googleapis\.com")


def requests(pattern: str, method: str = r"\w+") -> re.Pattern[str]:
    """Return the pattern of a method and the beginning of a path."""
    return re.compile(rf"{method} (?:{pattern})")


@dataclass(frozen=True, slots=True)
class SimulatedApi:
    """One API. Its module has the same name."""

    name: str
    hosts: tuple[str, ...] = ()
    """The hosts that only it has."""
    places: frozenset[str] = BEARER
    """Where it looks for credentials: headers, and parameters as `?key=`."""
    requests: tuple[re.Pattern[str], ...] = ()
    """Its requests at a host that is no provider's: patterns of `METHOD /path`, matched from the beginning."""
    sdk_requests: tuple[tuple[str, re.Pattern[str]], ...] = ()
    """Those that are its own only with a header: the header and the pattern."""


APIS = (
    SimulatedApi(
        "vertex",
        requests=(
            requests(r"/v1(?:beta1)?/(?:projects/[^/]+/locations|publishers)/|//?ws/google\.cloud\.aiplatform\."),
        ),
    ),
    SimulatedApi("code_assist", ("cloudcode-pa.googleapis.com",), requests=(requests("/v1internal"),)),
    SimulatedApi("google_oauth", ("oauth2.googleapis.com",), requests=(requests("/token(?:info)?$"),)),
    SimulatedApi(
        "google_identity",
        ("sts.googleapis.com", "iamcredentials.googleapis.com", "cloudresourcemanager.googleapis.com"),
    ),
    SimulatedApi(
        "bedrock",
        requests=(
            requests("/(?:model|knowledgebases|agents)/|/(?:foundation-models|inference-profiles|retrieveAndGenerate)"),
        ),
    ),
    SimulatedApi(
        "gemini",
        ("generativelanguage.googleapis.com",),
        places=frozenset({"x-goog-api-key", "?key="}),
        requests=(
            requests(r"/v1beta/|/upload/v1(?:beta)?/|/ws/google\.ai\.generativelanguage\.|//ws/google\.ai\."),
            # OpenAI's fine-tuned models have colons in their names, too.
            requests(r"/v1/(?:models|tunedModels|files|cachedContents|operations)/[^/]+:[A-Za-z]+$", "POST"),
        ),
        sdk_requests=(("x-goog-api-client", requests("")),),
    ),
    SimulatedApi("azure", places=frozenset({"api-key", "authorization"}), requests=(requests("/openai/"),)),
    SimulatedApi("compatible", requests=(requests("/api/v1/"),)),
    SimulatedApi(
        "anthropic",
        ("api.anthropic.com",),
        places=frozenset({"x-api-key", "authorization"}),
        requests=(requests("/v1/messages"),),
        sdk_requests=(("anthropic-version", requests("/v1/")),),
    ),
    SimulatedApi("openai", ("api.openai.com",), requests=(requests("/v1/"),)),
    SimulatedApi("mistral", ("api.mistral.ai",), requests=(requests("/v1/"),)),
)
"""In the order in which their requests are tried. Of those with the same requests, the one whose key is sent is found,
or else the first."""

BY_NAME = {api.name: api for api in APIS}
HOSTS = {host: api.name for api in APIS for host in api.hosts}
ALIKE = {api.name: [other.name for other in APIS if other.requests == api.requests] for api in APIS}
"""Name of an API → those with the same requests, itself among them."""
