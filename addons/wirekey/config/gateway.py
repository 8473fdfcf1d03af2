"""The settings of the gateway."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator

from wirekey.config.addresses import host_name
from wirekey.config.group import ConfigGroup
from wirekey.config.values import ValueFormat

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[1-9][0-9]{0,4})?")
DEFAULT_PORTS = {"http": "80", "https": "443"}


def web_origin(value: Any) -> str:
    """Check the origin of a web page, in the form in which browsers send it. Raises ValueError."""
    if not isinstance(value, str) or not ORIGIN.fullmatch(value):
        raise ValueError(  # pydantic collects ValueErrors
            "must be SCHEME://HOST or SCHEME://HOST:PORT in lower case, such as https://app.corp.example. Wildcards "
            "are not allowed"
        )
    scheme, _, rest = value.partition("://")
    if (port := DEFAULT_PORTS.get(scheme)) and rest.endswith(f":{port}"):
        raise ValueError(f"must be written without the port {port}, the default port of {scheme}, as browsers write it")
    return value


def gateway_name(value: str) -> str:
    """Check a host name of the gateway. Raises ValueError."""
    return host_name(value, "the gateway")


WebOrigin = Annotated[str, PlainValidator(web_origin), ValueFormat("SCHEME://HOST[:PORT]")]
GatewayName = Annotated[str, AfterValidator(gateway_name), ValueFormat("host name")]


class GatewayConfig(ConfigGroup):
    """The setting `gateway`: the web pages that may call it, and its host names."""

    cors: tuple[WebOrigin, ...] = Field(
        default=(),
        description="Origins of web pages that may call the gateway and read its responses.",
        examples=[["https://app.corp.example", "http://localhost:3000"]],
    )
    names: tuple[GatewayName, ...] = Field(
        default=(),
        description="Host names of the gateway, in addition to `localhost` and IP addresses. Needed only if "
        "`identity.required` is false: without this check, any web page could call the gateway by a name of its own.",
        examples=[["wirekey.corp.example"]],
    )
