from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wirekey.config.group import Settings
from wirekey.config.values import Flag, Kind, host_name


def page_name(value: str) -> str:
    return host_name(value, "the page")


Name = Annotated[str, AfterValidator(page_name), Kind("host name")]


class Console(Settings):
    """Who may see the live page of the console. /health, /ready and the token endpoint are for everyone there."""

    sign_in: Literal["token", "loopback"] = Field(
        default="token",
        description="Who sees the live page: who signed in with a link of `wirekey console`; or `loopback`: also each "
        "program and user of this machine, without signing in.",
    )
    remote: Flag = Field(
        default=False,
        description="Show the page to other machines too, where `listen.console` lets them in. They sign in always.",
    )
    names: tuple[Name, ...] = Field(
        default=(),
        description="Names by which browsers reach the page, besides `localhost` and addresses.",
        examples=[["wirekey.corp.example"]],
    )
