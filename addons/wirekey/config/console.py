"""The settings of the console."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wirekey.config.addresses import host_name
from wirekey.config.group import ConfigGroup
from wirekey.config.values import Flag, Network, ValueFormat


def page_name(value: str) -> str:
    """Check a host name of the live page. Raises ValueError."""
    return host_name(value, "the page")


PageName = Annotated[str, AfterValidator(page_name), ValueFormat("host name")]


class ConsoleConfig(ConfigGroup):
    """The setting `console`: access to the live page. /health, /ready and the token endpoint need no sign-in."""

    sign_in: Literal["token", "loopback"] = Field(
        default="token",
        description="token: a browser signs in with a link of `wirekey console`. loopback: every user and program of "
        "this machine sees the page without signing in.",
    )
    remote: Flag = Field(
        default=False,
        description="Also show the page to other machines, if they can reach `listen.console`. They must always sign "
        "in.",
    )
    metrics_from: tuple[Network, ...] = Field(
        default=(),
        description="Networks whose machines may read `/metrics`, such as that of Prometheus. They see which agent "
        "calls which model and what it costs. Programs of this machine always may.",
        examples=[["10.1.0.0/24"]],
    )
    names: tuple[PageName, ...] = Field(
        default=(),
        description="Host names of the page for browsers, and of `/metrics` for machines in `metrics_from`, in "
        "addition to `localhost` and IP addresses.",
        examples=[["wirekey.corp.example"]],
    )
