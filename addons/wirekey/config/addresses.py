"""Addresses in the configuration: of listeners and upstreams, and names and patterns of hosts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from wirekey.core.egress.names import NUMERIC

HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
URL_PATH = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9._~-]*)+")
VERSION_AT_END = re.compile(r"/v1(?:beta|alpha)?$")
HOST_GLOB = re.compile(r"[a-z0-9*](?:[a-z0-9.*-]{0,251}[a-z0-9*])?")


@dataclass(frozen=True, slots=True)
class HostPort:
    """The address of a listener. Port 0 selects a free port. IPv6 hosts have no brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, value: Any) -> HostPort:
        """Return the address in a text such as `127.0.0.1:8080` or `[::1]:8080`. Raises ValueError."""
        if isinstance(value, HostPort):
            return value
        if isinstance(value, list):
            raise ValueError('must be HOST:PORT. Put an IPv6 address in quotes: "[::1]:8080"')  # noqa: TRY004
        if not isinstance(value, str):
            raise ValueError("must be HOST:PORT, such as 127.0.0.1:8080")  # noqa: TRY004
        host, colon, port = value.rpartition(":")
        if not colon or not host or not port.isdecimal() or not port.isascii():
            raise ValueError("must be HOST:PORT, such as 127.0.0.1:8080")
        if int(port) > 65535:
            raise ValueError("the port must be a number from 0 to 65535. 0 selects a free port")
        return cls(host_name(host, "a listener"), int(port))


@dataclass(frozen=True, slots=True)
class UpstreamURL:
    """The URL of a configured upstream. `path` begins with / and does not end with it; a URL may have none ("")."""

    host: str
    port: int = 443
    path: str = ""
    tls: bool = True

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme, usual = ("https", 443) if self.tls else ("http", 80)
        return f"{scheme}://{host}{self.path}" if self.port == usual else f"{scheme}://{host}:{self.port}{self.path}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine, by its name."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @classmethod
    def parse(cls, value: Any) -> UpstreamURL:
        """Return the upstream of an https URL without query and user information. Raises ValueError."""
        return cls.parse_any(value, schemes=("https",))

    @classmethod
    def parse_any(cls, value: Any, schemes: tuple[str, ...] = ("https", "http")) -> UpstreamURL:
        """Return the upstream of a URL without query and user information. Raises ValueError."""
        if isinstance(value, UpstreamURL):
            return value
        parts, port = https_url(value, schemes)
        if parts.query or parts.fragment or (parts.path.strip("/") and not URL_PATH.fullmatch(parts.path.rstrip("/"))):
            raise ValueError("must be https://HOST:PORT or https://HOST:PORT/PATH. The query comes from the call")
        path = parts.path.rstrip("/")
        if VERSION_AT_END.search(path):
            raise ValueError(
                f"ends with {path.rpartition('/')[2]}, with which the path of each call begins. Leave it out here"
            )
        return cls(host_name(parts.hostname or "", "an upstream"), port, path, tls=parts.scheme == "https")


def https_url(value: Any, schemes: tuple[str, ...] = ("https",)) -> tuple[Any, int]:
    """Return the parts and the port of a URL without user information. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("must be an https:// URL")  # noqa: TRY004  # pydantic collects ValueErrors
    try:
        parts = urlsplit(value.strip())
        port = parts.port
    except ValueError:
        raise ValueError("is not a valid URL. Write https://HOST:PORT") from None
    if parts.scheme == "http" and "http" not in schemes:
        raise ValueError("must begin with https://: keys are only sent over TLS")
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError("must be an https:// URL, such as https://llm.corp.example")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password. Set keys by reference in `keys`")
    if port == 0:
        raise ValueError("the port must be a number from 1 to 65535")
    # urlsplit changes the host to lower case: check the original.
    if parts.netloc != parts.netloc.lower():
        raise ValueError("the host must be written in lower case")
    return parts, port or (443 if parts.scheme == "https" else 80)


def host_name(text: str, whose: str) -> str:
    """Return a host name or IP address in its canonical form, without brackets. Raises ValueError.

    `whose` names the setting in the message.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ip_address(bare))
    except ValueError:
        pass
    if not HOST_NAME.fullmatch(bare) or NUMERIC.fullmatch(bare):
        raise ValueError(f"the host of {whose} must be a lower-case host name or an IP address")
    return bare


def host_glob(value: Any) -> str:
    """Check a pattern of host names such as `*.github.com`. Raises ValueError."""
    if not isinstance(value, str) or not HOST_GLOB.fullmatch(value):
        raise ValueError(  # pydantic collects ValueErrors
            "must be a host name in lower case, in which * matches any part: github.com, *.github.com"
        )
    return value


def check_https_url(value: Any) -> str:
    """Return an https URL as a text. Raises ValueError."""
    https_url(value)
    return str(value).strip()


def server_url(value: Any) -> str:
    """Check the URL of a server of the operator: https, or http to this machine. Raises ValueError."""
    if isinstance(value, str) and value.startswith("http://"):
        parts = urlsplit(value)
        if parts.hostname in ("127.0.0.1", "::1", "localhost") and "@" not in parts.netloc:
            return value
        raise ValueError("must begin with https://, unless the host is this machine (127.0.0.1, localhost)")
    return check_https_url(value)
