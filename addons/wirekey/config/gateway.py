from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator

from wirekey.config.group import Settings
from wirekey.config.values import Kind, host_name

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[1-9][0-9]{0,4})?")
USUAL_PORTS = {"http": "80", "https": "443"}


def origin(value: Any) -> str:
    """Check the origin of a web page, as browsers write it. Raises ValueError."""
    if not isinstance(value, str) or not ORIGIN.fullmatch(value):
        raise ValueError(  # pydantic collects ValueErrors
            "must be SCHEME://HOST or SCHEME://HOST:PORT in lower case, such as https://app.corp.example; there is no "
            "wildcard"
        )
    scheme, _, rest = value.partition("://")
    if (port := USUAL_PORTS.get(scheme)) and rest.endswith(f":{port}"):
        raise ValueError(f"must be written as browsers do: without the port {port}, which is the usual one of {scheme}")
    return value


def gateway_name(value: str) -> str:
    return host_name(value, "the gateway")


Origin = Annotated[str, PlainValidator(origin), Kind("SCHEME://HOST[:PORT]")]
Name = Annotated[str, AfterValidator(gateway_name), Kind("host name")]


class Gateway(Settings):
    """Which web pages may call the gateway, and under which names."""

    cors: tuple[Origin, ...] = Field(
        default=(),
        description="Origins of web pages that may call the gateway and read its responses.",
        examples=[["https://app.corp.example", "http://localhost:3000"]],
    )
    names: tuple[Name, ...] = Field(
        default=(),
        description="Host names under which the gateway takes calls where `identity.required` is false, in addition to "
        "`localhost` and addresses. Otherwise any page could have its own name point here.",
        examples=[["wirekey.corp.example"]],
    )
