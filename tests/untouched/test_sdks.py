"""Calls of each SDK, recorded directly before the simulator, are the same after Wirekey, byte for byte."""

from __future__ import annotations

import pytest

from tests.clients.calls import LIBRARIES, SDKS
from tests.support.conversation import Program, command_of, direct_environment
from tests.support.running import SimulatorThread, wait_for
from tests.untouched.comparing import differences, keys_of
from tests.untouched.messages import Message
from tests.untouched.recording import Recorder

TEXT = "Ein Häschen \N{RABBIT} hüpft."
CLIENTS = [*SDKS, *LIBRARIES]
ACTIONS = ("chat", "stream")
WAYS = ("forward", "gateway")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> dict[tuple[str, str, str], list[tuple[str, Message, Message]]]:
    """Client and action → the exchanges of its call."""
    folder = tmp_path_factory.mktemp("simulator")
    simulator = SimulatorThread(folder)
    recorder = Recorder(folder, simulator)
    found = {}
    for language in ("python", "node"):
        program = Program(command_of(language), direct_environment(recorder), tmp_path_factory.mktemp(language))
        for spoken, client, provider in CLIENTS:
            for action in ACTIONS if spoken == language else ():
                outcome = program.do(client, action, text=TEXT)
                assert not outcome.failed, outcome
                wait_for(lambda: all(seen.outcome for seen in simulator.seen), "the simulator to finish")
                exchanges = recorder.new_exchanges()
                found[language, client, action] = [(provider, *exchange) for exchange in exchanges]
        program.stop()
    recorder.close()
    simulator.stop()
    return found


def test_each_client_is_recorded(corpus):
    assert [key for key, exchanges in corpus.items() if not exchanges] == []
    requests = [request for exchanges in corpus.values() for _, request, _ in exchanges]
    responses = [response for exchanges in corpus.values() for _, _, response in exchanges]
    assert {request.is_http2 for request in requests} == {False, True}
    assert any(response.values(b"transfer-encoding") for response in responses)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("language", "client"), [each[:2] for each in CLIENTS])
def test_a_recorded_call_is_not_touched(corpus, replay, record_property, way, action, language, client):  # noqa: PLR0917  # by pytest
    made = 0
    for of, request, response in corpus[language, client, action]:
        if request.is_http2 and way == "gateway":
            continue
        arrived, back = replay.through(way, of, request, response)
        assert differences(request, arrived) == []
        assert len(keys_of(arrived)) == 1
        assert differences(response, back) == []
        made += 1
    record_property("calls of SDKs", made)
