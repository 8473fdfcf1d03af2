"""What the doctor says about routes that translate. `test_routes` has the routes."""

from tests.features.translation.test_routes import found
from wirekey.cli.config_checks import Level
from wirekey.features.translation.checks import finding_of


def test_a_route_that_refuses_other_formats_is_skipped():
    refused = found({"match": "a", "provider": "anthropic"}, translation={"enabled": False})
    assert finding_of(refused[0]).level is Level.SKIPPED


def test_a_route_that_translates_is_fine_and_its_losses_are_named():
    (chat,) = [one for one in found({"match": "a", "provider": "anthropic"}) if one.client == "openai.chat"]
    finding = finding_of(chat)
    assert (finding.area, finding.subject, finding.level) == ("routes", "routes[0] openai.chat", Level.OK)
    assert finding.message.startswith("translated to anthropic; ")
    assert "refuses logprobs, n, " in finding.message
