"""What the doctor says about routes that translate. tests/routing/test_translated_routes.py has the routes."""

from tests.routing.test_translated_routes import found

from wirekey.features.doctor.checks import check_translation
from wirekey.features.doctor.findings import Level
from wirekey.translation.neutral import Format


def test_a_route_that_refuses_other_formats_is_skipped():
    refused = found({"match": "a", "provider": "anthropic"}, translation={"enabled": False})
    assert check_translation(refused[0]).level is Level.SKIPPED


def test_a_route_that_translates_is_fine_and_its_losses_are_named():
    (chat,) = [one for one in found({"match": "a", "provider": "anthropic"}) if one.client is Format.CHAT]
    finding = check_translation(chat)
    assert (finding.area, finding.subject, finding.level) == ("routes", "routes[0] openai.chat", Level.OK)
    assert finding.message.startswith("translated to anthropic; ")
    assert "refuses logprobs, n, " in finding.message
