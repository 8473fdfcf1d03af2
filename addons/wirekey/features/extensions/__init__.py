"""The operator's own functions and classes, which `wirekey.extension` describes.

`running` imports them and runs them within their time limits. `functions` has those that settings of the core name:
credentials and the choice of a model. `key_checks` asks about keys, with the results in `checked_keys`. `request_hooks`
and `response_hooks` run classes around each call, as `calls` shows it to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature, Later

if TYPE_CHECKING:
    from wirekey.core.addons.base import Addon
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services


def parts() -> tuple[object, ...]:
    """Return what extensions add to the core."""
    from wirekey.config.feature_settings import TOP, AddedSettings
    from wirekey.config.operator_functions import OperatorFunctions
    from wirekey.core.addons.order import AddedAddon
    from wirekey.core.calls.credential_kinds import AddedKeyIdentification
    from wirekey.core.calls.feature_values import RenewedValue
    from wirekey.core.calls.service_parts import AddedPreflights
    from wirekey.core.calls.state_sharing import CredentialKind
    from wirekey.features.extensions.checked_keys import CHECKED_KEY, restored_key
    from wirekey.features.extensions.config import CheckSetting, ExtensionsSetting

    functions, key_checks = f"{__name__}.functions", f"{__name__}.key_checks"
    return (
        AddedSettings({TOP: ExtensionsSetting, "identity": CheckSetting}),
        OperatorFunctions(
            Later(functions, "function_problems"),
            Later(functions, "FunctionCredential.load"),
            Later(functions, "FunctionModel.load"),
        ),
        RenewedValue(Later(functions, "hooks_in_use")),
        RenewedValue(Later(key_checks, "key_checker")),
        CredentialKind(CHECKED_KEY, restored_key),
        AddedKeyIdentification(Later(key_checks, "KeyChecks")),
        AddedAddon("Egress", make_request_hooks),
        AddedAddon("Credentials", make_response_hooks),
        AddedPreflights(Later(f"{__name__}.request_hooks", "respond_to_preflight")),
    )


def make_request_hooks(services: Services, order: AddonOrder) -> Addon:
    """Return the addon: what do the operator's extensions change or refuse in requests."""
    from wirekey.features.extensions.request_hooks import RequestHooks

    return RequestHooks(services, order)


def make_response_hooks(services: Services, _: AddonOrder) -> Addon:
    """Return the addon: the operator's extensions on responses without keys, and on ended calls."""
    from wirekey.features.extensions.response_hooks import ResponseHooks

    return ResponseHooks(services)


FEATURE = Feature("extensions", parts)
