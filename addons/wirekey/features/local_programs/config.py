"""The setting `backends.gemini-cli-acp`: a program on this machine that has a login of its own."""

from __future__ import annotations

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import AbsolutePath, Count, Flag, Seconds, Text


class LocalProgramConfig(ConfigGroup):
    """The settings of `gemini-cli-acp`."""

    enabled: Flag = Field(
        default=False,
        description="Whether calls may be answered by a local program, with the login of the program. Its terms apply, "
        "and you answer for the use.",
    )
    gemini_cli_executable: Text = Field(
        default="gemini", description="The program: a name that is looked for in `PATH`, or a full path."
    )
    arguments: tuple[Text, ...] = Field(
        default=("--experimental-acp",),
        description="Its arguments. `--model MODEL` is added, and `-y` with `auto_accept`.",
    )
    model: Text = Field(
        default="gemini-2.5-flash",
        description="Model of the program for calls whose model is not one of Gemini's, such as those that a route "
        "sends here.",
    )
    models: tuple[Text, ...] = Field(
        default=(),
        description="Models that `GET /v1/models` lists for this backend.",
        examples=[["gemini-2.5-pro", "gemini-2.5-flash"]],
    )
    workspace: AbsolutePath | None = Field(
        default=None,
        description="Project folder of calls that name none. null: such calls are refused.",
        examples=["/srv/projects/demo"],
    )
    workspaces: tuple[AbsolutePath, ...] = Field(
        default=(),
        description="Folders below which a request may choose its project folder.",
        examples=[["/srv/projects"]],
    )
    auto_accept: Flag = Field(
        default=False,
        description="Allow the program whatever it asks permission for: it then changes files and runs commands as the "
        "user of Wirekey.",
    )
    processes: Count = Field(default=8, description="Most programs that run at the same time, for each worker.")
    idle_timeout: Seconds = Field(default=30.0, description="Time without a request after which a program is ended.")
    process_timeout: Seconds = Field(
        default=300.0, description="Time without a word of the program after which a call fails and it is ended."
    )
    environment: tuple[Text, ...] = Field(
        default=(),
        description="Variables of Wirekey's environment that the program gets in addition to `PATH`, `HOME`, the "
        "language and the like.",
        examples=[["GOOGLE_CLOUD_PROJECT"]],
    )


class LocalProgramSetting(ConfigGroup):
    """The part of the setting `backends` that local programs add."""

    gemini_cli_acp: LocalProgramConfig = Field(
        default=LocalProgramConfig(),
        alias="gemini-cli-acp",
        description="A program on this machine, by the Agent Client Protocol.",
    )
