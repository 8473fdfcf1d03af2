"""The values of which the description of a provider consists. Each says one thing.

No attribute has a default: where a provider lacks something, its description says so. The values in capitals are for
what many providers lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Facts, Operation
    from wirekey.providers.model_list import Document, ListedModel

NOTHING: Mapping[str, str] = MappingProxyType({})


def always[T](value: T) -> Callable[..., T]:
    """Return a function that returns one value, whatever it is called with."""
    return lambda *_: value


def unchanged(*given: Any) -> Any:
    """Return the last argument as it is."""
    return given[-1]


def key_in(header: str) -> Callable[[str, str], tuple[str, str]]:
    """Return a function that returns the header that carries a key, for each path the same."""
    return lambda key, _path: (header, f"Bearer {key}" if header == "authorization" else key)


@dataclass(frozen=True, slots=True)
class ProviderHosts:
    """The hosts of a provider. In `elsewhere` and `if_configured`, a name may have `*` for any characters."""

    own: str
    """The host that is always decrypted; "" if it has one for each region or location."""
    elsewhere: Mapping[str, str]
    """Hosts that are never decrypted, and take the provider's key or a login of its users → the service there."""
    if_configured: Mapping[str, str]
    """Hosts that are decrypted if the configuration has the provider → the service there."""
    shared: tuple[str, ...]
    """Further hosts that are decrypted then, where other services are, too."""
    path_prefix: str
    """The path before those that Wirekey knows, which only the upstream's own requests have: `/openai` at Azure."""
    host_of: Callable[[str], str | None]
    """Returns the host that must serve a raw path, or None if any host of the provider may."""


def one_host(own: str, elsewhere: Mapping[str, str]) -> ProviderHosts:
    """Return the hosts of a provider whose paths are all at one host, or all at each of its hosts."""
    return ProviderHosts(own, elsewhere, if_configured=NOTHING, shared=(), path_prefix="", host_of=always(None))


@dataclass(frozen=True, slots=True)
class ProviderGateway:
    """The paths of a provider at the root of the gateway, each a pattern of raw paths."""

    paths: tuple[str, ...]
    leads_by_model: bool
    """Whether a path in its format may lead to another provider, depending on the model."""
    sdk_header: str
    """A header that only its SDKs send."""
    sdk_paths: str
    """The paths that are its own if that header is there, and of a shared format otherwise."""
    unversioned_paths: str
    """The paths, with that header, to which an SDK does not add the version `/v1`."""


NEVER = "(?!)"
"""The pattern of no path."""


def gateway_paths(*paths: str, leads_by_model: bool = False) -> ProviderGateway:
    """Return the paths of a provider whose SDKs are not recognised by a header."""
    return ProviderGateway(paths, leads_by_model, sdk_header="", sdk_paths=NEVER, unversioned_paths=NEVER)


@dataclass(frozen=True, slots=True)
class LimitHeaders:
    """The headers with rate limits. In `pattern`, `value` is limit, remaining or reset, `counted` what is limited."""

    pattern: str
    reset_at: bool
    """Whether a reset is the moment at which the limit is full again, and not the time until then."""

    def name(self, counted: str, value: str) -> str:
        """Return the name of one header."""
        return self.pattern.format(counted=counted, value=value)


USUAL_LIMITS = LimitHeaders("x-ratelimit-{value}-{counted}", reset_at=False)


@dataclass(frozen=True, slots=True)
class ProviderHeaders:
    """The headers that only a provider and its SDKs have, in lower case."""

    account: tuple[str, ...]
    """Those with the account or the quota that pays. The operator decides on it, so they are not forwarded."""
    shown: tuple[str, ...]
    """Those whose values a flow may show: versions, limits and numbers, none of them a capability."""
    shown_families: tuple[str, ...]
    """Beginnings of the names of further ones."""
    limits: LimitHeaders
    """Those of what is left of a limit."""


NO_HEADERS = ProviderHeaders((), (), (), USUAL_LIMITS)


@dataclass(frozen=True, slots=True)
class ProviderVariables:
    """The environment variables of programs that call a provider, and of Wirekey."""

    usual: tuple[str, ...]
    """Those from which Wirekey itself takes a key if the configuration has none, in order."""
    keys: tuple[str, ...]
    """Those from which programs read a key. They are set to the token of the agent."""
    own: tuple[str, ...]
    """Those from which programs read a key or a login of their own, which `key_source: passthrough` leaves there."""
    pointers: tuple[str, ...]
    """Those that tell an SDK where to find a credential. Their values are not secrets."""
    base_urls: Mapping[str, str]
    """Those with a base URL → the path of the gateway in it."""
    settings: tuple[str, ...]
    """Those with settings of one program, among them a base URL of the provider."""


NO_VARIABLES = ProviderVariables((), (), (), (), NOTHING, ())
"""The variables of a provider that programs do not find by variables."""


@dataclass(frozen=True, slots=True)
class ProviderCredentials:
    """The source of the credential of a call, and its places in a request."""

    setting: str
    """The environment variable of its SDK for the key: OPENAI_API_KEY, GEMINI_API_KEY, …"""
    headers: tuple[str, ...]
    """Headers, in lower case, in which it looks for an API key; `authorization` holds it after `Bearer`."""
    header: Callable[[str, str], tuple[str, str]]
    """Returns name and value of the header that carries an API key, from the key and the raw path without the query."""
    variables: ProviderVariables
    parameter: str
    """A parameter of the query in which it looks for an API key, too."""
    client_header: str
    """The header in which a client sends a key of its own; "" for AWS, which has several."""
    refused_sign: tuple[int, bytes]
    """An ambiguous status, and the text in its body that means that the key itself was refused."""
    keyless: tuple[str, ...]
    """Operations whose requests may lack a key, as their body has the credential."""
    uses_aws: bool
    """Whether it is a service of AWS: it has a host for each region, and calls without an API key are signed."""
    uses_google: bool
    """Whether its calls are sent with an access token of Google's."""
    has_upload_ids: bool
    """Whether an upload continues at a URL with an `upload_id`, which is its credential."""


def bearer_key(setting: str, client_header: str, variables: ProviderVariables) -> ProviderCredentials:
    """Return the credentials of a provider whose only credential is a key after `Bearer`."""
    return ProviderCredentials(
        setting,
        headers=("authorization",),
        header=key_in("authorization"),
        variables=variables,
        parameter="",
        client_header=client_header,
        refused_sign=(0, b""),
        keyless=(),
        uses_aws=False,
        uses_google=False,
        has_upload_ids=False,
    )


class Rewriting(Protocol):
    """How a provider accepts requests of its format for other providers, and changes them."""

    def receives(self, operation: Operation, model: str) -> bool:
        """Return whether it answers an operation at a path of its own."""

    def receive(  # a request's parts, in the order in which they are known
        self, operation: Operation, target: bytes, body: RequestBody, location: str, model: str, *, stream: bool
    ) -> tuple[bytes, RequestBody]:
        """Return target and body of an operation that it `receives`, as it wants them. `model`: the one to request.

        Raises Refusal if the request or the model's name cannot stand there.
        """


@dataclass(frozen=True, slots=True)
class ProviderFormats:
    """The formats that a provider speaks, and its models in them."""

    speaks: tuple[str, ...]
    """The formats in which a translated request can be sent to it; the first is the default."""
    compatible: tuple[str, ...]
    """Other providers that answer some of the operations in its format."""
    rewriting: Rewriting | None
    default: Callable[[str, str], str]
    """Returns the format in which a request of a client's format is sent to a model, unless the route says one."""
    embeddings: Callable[[str], str | None]
    """Returns the format of the provider's requests for vectors by a model, or None if it makes no vectors."""
    answers: Callable[[str, str], bool]
    """Returns whether one of its models is called in a format."""
    owns_model: Callable[[str], bool]
    """Returns whether a model, called in a format that several providers answer, is this provider's own."""
    name_in: Callable[[str, str], str]
    """Returns the name that requests in a format have for a model."""
    own_facts: Callable[[Facts], Facts]
    """Returns what a request in a format of another provider asks of this one."""
    serves_google_models: bool
    """Whether a request in OpenAI's format is read by a model of Google's."""
    models_have_vendor: bool
    """Whether the vendor of a model may stand before its name, as in `gemini:google/NAME`."""


def own_formats(speaks: tuple[str, ...], embeddings: str | None) -> ProviderFormats:
    """Return the formats of a provider for its own requests and models only. The first one that it speaks is usual."""
    return ProviderFormats(
        speaks,
        compatible=(),
        rewriting=None,
        default=always(speaks[0]) if speaks else unchanged,
        embeddings=always(embeddings),
        answers=always(True),
        owns_model=always(False),
        name_in=unchanged,
        own_facts=unchanged,
        serves_google_models=False,
        models_have_vendor=False,
    )


@dataclass(frozen=True, slots=True)
class ProviderPrices:
    """How the cost of a provider's responses is counted."""

    price_list: str
    """Its name in the price list of genai-prices."""
    counts_cached_apart: Callable[[str], bool]
    """Returns whether the count of input of an operation leaves out what was read from its cache or written to it."""
    modifier_headers: Mapping[str, str]
    """Header of a request or a response, in lower case → the modifier of the price that it states."""
    free: tuple[str, ...]
    """Operations of no format without tokens that are paid for: they count tokens, or open a connection."""
    counts_beside_choices: bool
    """Whether its streams in OpenAI's format have token counts in events with choices, if they were asked for."""
    model_names_region: bool
    """Whether the requested model's name says the region, on which the price depends."""


def plain_prices(price_list: str) -> ProviderPrices:
    """Return the prices of a provider that counts all input together, once in a response, without modifiers."""
    return ProviderPrices(
        price_list,
        counts_cached_apart=always(False),
        modifier_headers=NOTHING,
        free=(),
        counts_beside_choices=False,
        model_names_region=False,
    )


@dataclass(frozen=True, slots=True)
class ProviderModels:
    """How a provider lists its models, and how lists are written in its format."""

    targets: tuple[str, ...]
    """The paths, with their query, under which the provider lists its models."""
    headers: Mapping[str, str]
    """Headers that a request for a list of models needs."""
    read_model: Callable[[Document], ListedModel | None]
    """Returns a model of the provider's list, or None if it cannot be called by its name."""
    inference_path: Callable[[ListedModel], str]
    """Returns the path of a call of one of the provider's models."""
    write_model: Callable[[ListedModel], Document]
    """Describes a model of any provider in this provider's format."""
    write_models: Callable[[Sequence[ListedModel]], Document]
    """Writes a list of models of any provider in this provider's format, in one page."""


@dataclass(frozen=True, slots=True)
class ProviderLocations:
    """The locations of a provider whose paths each name one, which has a host of its own."""

    names: str
    """The names that a location may have, in words."""
    host_in: Callable[[str], str | None]
    """Returns the host of a location, or None if there is no such location."""
    location_of: Callable[[str], str | None]
    """Returns the location that a host serves, or None."""
    in_location: Callable[[bytes, str], bytes]
    """Returns a target at another location."""
    host_of_message: Callable[[Operation, RequestBody], str | None]
    """Returns the host that must serve the first message of a connection, or None if any host of the provider may.

    "" if the message names no place that there is. Raises Refusal(400) for a message that is not valid."""
