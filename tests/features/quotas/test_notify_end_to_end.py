"""Notices of a running Wirekey: sent, without its secret anywhere, and to another receiver after a reload."""

from __future__ import annotations

import json

from tests.features.quotas.receiver import SECRET, Receiver
from tests.features.quotas.test_end_to_end import Program
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind, wait_for
from tests.support.serving import wirekey

CANARY = "canary-sentence-of-a-prompt"


def test_a_share_is_reported_and_a_reload_changes_the_receiver(tmp_path, simulator):
    first, second = Receiver(), Receiver()

    def quotas(receiver: Receiver) -> list[dict]:
        notify = {"url": f"{receiver.url}/hook", "secret": "env:NOTICE_SECRET"}
        return [{"name": "small", "per": "agent", "usd_per_day": 0.0012, "warn_at": 0.25, "notify": notify}]

    environ = KEY_ENVIRONMENT | {"NOTICE_SECRET": SECRET}
    running = Wirekey(tmp_path, behind(simulator, quotas=quotas(first)), environ=environ)
    try:
        one = Program(running, "kept")
        messages = [{"role": "user", "content": CANARY}]
        assert one.post("tokens=1000", messages=messages).status_code == 200
        wait_for(lambda: first.received, "the notice")
        assert first.received[0].is_signed
        data = first.received[0].notice["data"]
        assert (data["quota"], data["subject"], data["share"], data["allowed"]) == ("small", one.agent, 0.25, 0.0012)
        one.post("tokens=1000", messages=messages)
        wait_for(lambda: len(first.received) == 2, "the notice of the exhausted budget")
        assert first.received[1].notice["type"] == "quota.exhausted"

        configuration = json.loads((tmp_path / "wirekey.yaml").read_text()) | {"quotas": quotas(second)}
        (tmp_path / "wirekey.yaml").write_text(json.dumps(configuration))
        wait_for(
            lambda: Program(running, "kept").post("tokens=1000").status_code == 200 and second.received, "a reload"
        )
        shown = wirekey(running.folder, "config", "show", "--config", "wirekey.yaml", environ=running.environ)
        assert "env:NOTICE_SECRET" in shown.stdout
        written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
        written += [each.body + repr(each.headers).encode() for each in first.received + second.received]
        written.append(f"{shown.stdout}{shown.stderr}".encode())
        secrets = (SECRET.removeprefix("whsec_"), *PROVIDER_KEYS.values(), CANARY)
        assert not any(secret.encode() in text for secret in secrets for text in written)
    finally:
        running.stop()
        first.stop()
        second.stop()
    assert SECRET.removeprefix("whsec_") not in running.output.read_text()
