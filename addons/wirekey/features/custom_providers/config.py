"""The settings of custom providers: hosts of other companies that speak the format of a provider that Wirekey knows."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from wirekey.config.addresses import URL_PATH
from wirekey.config.group import ConfigGroup
from wirekey.config.providers import ProviderSettings
from wirekey.config.routes import SelectionName
from wirekey.config.upstream_proxy import ProxySetting
from wirekey.config.values import PYTHON_NAME, ConfiguredUpstream, Flag, Reference, Text, ValueFormat, is_python
from wirekey.core.egress.names import is_canonical
from wirekey.features.custom_providers.provider import FORMS, CustomTraits, custom_provider
from wirekey.providers.hosts import FIXED_HOSTS, SHARED_HOSTS
from wirekey.providers.model_hosts import setting_of_host
from wirekey.providers.openai import OPENAI
from wirekey.providers.registry import OWN_PROVIDERS

NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
LONGEST_NAME = 32
RESERVED = ("auth", "custom", "google", "wirekey", *OWN_PROVIDERS)
"""Names with another meaning in a path of the gateway or in the configuration."""
AUTHS = ("bearer", "api-key", "x-api-key", "x-goog-api-key", "none")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.providers.protocol import Provider

    CustomFormat = str
else:
    CustomFormat = Literal[*FORMS]


def custom_name(value: str) -> str:
    """Check the name of a custom provider. Raises ValueError."""
    if not NAME.fullmatch(value) or len(value) > LONGEST_NAME:
        raise ValueError("must be a word of lower-case letters, digits and hyphens, such as azure-eu")
    if value in RESERVED or value.startswith("gemini-"):
        raise ValueError("is a name that Wirekey uses itself. Choose a different name")
    return value


def custom_host(value: str) -> str:
    """Check the host of a custom provider. Raises ValueError."""
    if not is_canonical(value):
        raise ValueError("must be a host name in lower case, such as openrouter.ai, without https:// and port")
    if value in (*FIXED_HOSTS, *SHARED_HOSTS) or setting_of_host(value):
        raise ValueError("is the host of a provider that Wirekey knows. Use the settings of that provider")
    return value


def path_prefix(value: str) -> str:
    """Check the path before those of the format. Raises ValueError."""
    if value and not URL_PATH.fullmatch(value):
        raise ValueError("must be a path that begins with / and does not end with it, such as /api")
    if re.search(r"/v1(?:beta|alpha)?$", value):
        raise ValueError("ends with the version, with which the paths of the format begin. Leave it out")
    return value


def custom_auth(value: str) -> str:
    """Check the `auth` of a custom provider: one of AUTHS, or an operator's own function. Raises ValueError."""
    if value not in AUTHS and not PYTHON_NAME.fullmatch(value):
        raise ValueError(f"must be one of {', '.join(AUTHS)}, or python:MODULE:FUNCTION")
    return value


class CustomProviderConfig(ProviderSettings):
    """One of `providers.custom`."""

    name: Annotated[Text, AfterValidator(custom_name)] = Field(
        description="Name of the provider in routes, policies, the audit log and the gateway (`/api/v1/NAME/…`).",
        examples=["azure"],
    )
    hosts: tuple[Annotated[Text, AfterValidator(custom_host), ValueFormat("host name")], ...] = Field(
        min_length=1,
        description="Hosts of the provider, which the CA may then sign. Calls through the gateway go to the first.",
        examples=[["corp.openai.azure.com"]],
    )
    speaks: CustomFormat = Field(
        default=next(iter(FORMS)),
        description="Format of the provider. With one of OpenAI's formats it has all paths of OpenAI, and calls that "
        "are translated for it use this one.",
    )
    path: Annotated[str, AfterValidator(path_prefix), ValueFormat("path")] = Field(
        default="", description="Path before the paths of the format.", examples=["/api"]
    )
    deployments: Flag = Field(
        default=False,
        description="Whether paths may also name the model as Azure does: `/deployments/MODEL/chat/completions`. Needs "
        "one of OpenAI's formats.",
    )
    auth: Annotated[
        Text, AfterValidator(custom_auth), ValueFormat(" \\| ".join((*AUTHS, "python:MODULE:FUNCTION")))
    ] = Field(default="bearer", description="How the key is sent. python:… calls your own function.")
    keys: tuple[Reference, ...] = Field(
        default=(),
        description="Keys of the provider. A key that gets 401, 403 or 429 cools down.",
        examples=[["env:AZURE_OPENAI_API_KEY"]],
    )
    selection: SelectionName = Field(default="round-robin", description="As for the other providers.")
    prices: Text | None = Field(
        default=None,
        description="Price list of the package genai-prices, such as `azure`, `openrouter` or `mistral`. null: no "
        "prices, so that the cost of calls is unknown.",
        examples=["azure"],
    )
    include_stream_usage: Flag | None = Field(default=None, description="As in `metering`, which is the default.")
    upstream_url: ConfiguredUpstream | None = Field(
        default=None, description="`https://HOST:PORT` to connect to instead of the provider's own hosts."
    )
    upstream_proxy: ProxySetting = Field(
        default=None, description="Proxy on the way to this provider. Default: the global `upstream_proxy`."
    )
    key_source: Literal["inject", "passthrough"] = Field(
        default="inject",
        description="inject: Wirekey adds one of `keys`. passthrough: the client's own key is forwarded unchanged.",
    )

    @property
    def takes_keys(self) -> bool:
        """Whether calls are sent with one of `keys`, unless the clients have their own."""
        return self.auth != "none" and not is_python(self.auth)

    @property
    def other_source(self) -> str:
        """The clients, or the reason why there are no keys."""
        if self.key_source != "inject" or self.takes_keys:
            return super().other_source
        return "it needs no key" if self.auth == "none" else f"{self.auth} makes its credentials"

    @property
    def way(self) -> str:
        """How calls are sent."""
        return super().way if self.takes_keys else self.auth

    @property
    def upstream_path(self) -> str:
        """The path behind that of `upstream_url`."""
        return self.path

    @property
    def asks_usage(self) -> bool | None:
        """Whether streams are asked for their token counts; None: as in `metering`."""
        return self.include_stream_usage

    @property
    def added_hosts(self) -> tuple[str, ...]:
        """The hosts of the provider."""
        return self.hosts

    @property
    def family(self) -> str:
        """The provider whose format this one has."""
        return FORMS[self.speaks][0].name

    def made_provider(self) -> Provider:
        """Return the provider."""
        header = "authorization" if self.auth == "bearer" else self.auth
        return custom_provider(
            CustomTraits(self.name, self.hosts, self.speaks, header, self.path, self.deployments, self.prices or "")
        )

    @model_validator(mode="after")
    def check_keys_used(self) -> Self:
        """Refuse keys that are never used. Raises ValueError."""
        if self.keys and self.key_source != "inject":
            raise ValueError(f"keys are never used with key_source: {self.key_source}. Remove one of the two")
        if self.keys and not self.takes_keys:
            raise ValueError(f"keys are never used with auth: {self.auth}. Remove one of the two")
        return self

    @model_validator(mode="after")
    def check_deployments(self) -> Self:
        """Refuse paths of deployments in a format that has none. Raises ValueError."""
        if self.deployments and self.family != OPENAI.name:
            raise ValueError("deployments needs speaks: openai.chat or openai.responses")
        return self


class CustomProvidersSetting(ConfigGroup):
    """The setting `providers.custom`."""

    custom: tuple[CustomProviderConfig, ...] = Field(
        default=(),
        description="Other hosts that speak the format of one of these providers, such as Azure OpenAI and OpenRouter.",
        examples=[
            [
                {
                    "name": "azure",
                    "hosts": ["corp.openai.azure.com"],
                    "path": "/openai",
                    "deployments": True,
                    "auth": "api-key",
                    "keys": ["env:AZURE_OPENAI_API_KEY"],
                },
                {"name": "openrouter", "hosts": ["openrouter.ai"], "path": "/api", "keys": ["env:OPENROUTER_API_KEY"]},
            ]
        ],
    )

    @field_validator("custom")
    @classmethod
    def check_custom(cls, value: tuple[CustomProviderConfig, ...]) -> tuple[CustomProviderConfig, ...]:
        """Refuse two custom providers with the same name or host. Raises ValueError."""
        for what in ("name", "hosts"):
            seen: dict[str, int] = {}
            for index, provider in enumerate(value):
                found = getattr(provider, what)
                for one in (found,) if what == "name" else dict.fromkeys(found):
                    if one in seen:
                        raise ValueError(f"custom[{seen[one]}] and custom[{index}] both have {one}. Change one of them")
                    seen[one] = index
        return value


def custom_names(data: Any) -> Iterator[str]:
    """Yield the names of the custom providers in data that is not checked yet."""
    providers = data.get("providers") if isinstance(data, dict) else None
    custom = providers.get("custom") if isinstance(providers, dict) else None
    for each in custom if isinstance(custom, list) else ():
        name = each.get("name") if isinstance(each, dict) else None
        with contextlib.suppress(ValueError):
            if isinstance(name, str):
                yield custom_name(name)
