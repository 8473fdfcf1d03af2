"""Translation between the formats of providers: a call may go to an upstream that has another format than its client.

Each format is one package that reads and writes one neutral form (`neutral`). A pair of formats is the meeting of two
packages, so no code is written for a pair. These rules are pure: bytes and values in, bytes and values out. `attempt`
writes the request of an attempt in the upstream's format, `attempt_response` its response in the client's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import AddedCommand, Feature

if TYPE_CHECKING:
    from wirekey.core.calls.attempt_rewrite import FindStep
    from wirekey.core.calls.services import Services

HELP = "Show a request in the format of another provider."


def parts() -> tuple[object, ...]:
    """Return what translation adds to the core."""
    from wirekey.cli.config_checks import ConfigChecks
    from wirekey.config.feature_settings import ROUTES, TOP, AddedSettings
    from wirekey.core.calls.client_options import ClientOption
    from wirekey.core.calls.feature_values import ConfiguredValue
    from wirekey.core.calls.service_parts import AttemptRewrite
    from wirekey.core.routing.translating import FormatTranslation
    from wirekey.features.translation.checks import findings, lines
    from wirekey.features.translation.config import TranslationOfRoute, TranslationSetting, is_enabled
    from wirekey.features.translation.settings import LOSSES_HEADER, open_states, translation_settings
    from wirekey.server.feature_parts import OpenedService

    return (
        AddedSettings({TOP: TranslationSetting, ROUTES: TranslationOfRoute}),
        ConfiguredValue(translation_settings),
        FormatTranslation(is_enabled),
        OpenedService(open_states),
        ClientOption(LOSSES_HEADER),
        AttemptRewrite(make_rewrite),
        ConfigChecks("translations", lines, findings),
    )


def make_rewrite(services: Services) -> FindStep:
    """Return what finds the translation of an attempt."""
    from wirekey.features.translation.attempt import AttemptTranslation

    return AttemptTranslation(services).find


FEATURE = Feature("translation", parts, (AddedCommand("translate", HELP, f"{__name__}.command"),))
