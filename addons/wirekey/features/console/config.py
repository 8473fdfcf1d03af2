"""The settings of the live page in the group `console`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Flag

if TYPE_CHECKING:
    from wirekey.config.console import ConsoleConfig


class PageSettings(ConfigGroup):
    """The settings that are added to `console`."""

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


@dataclass(frozen=True, slots=True)
class PageAccess:
    """Access to the page: how a browser signs in, whether from other machines, and by which host names."""

    sign_in: str = "token"
    remote: bool = False
    names: tuple[str, ...] = ()


def page_access(console: ConsoleConfig) -> PageAccess:
    """Return who may see the page by the setting `console`."""
    page = console.part(PageSettings)
    return PageAccess(page.sign_in, page.remote, console.names)
