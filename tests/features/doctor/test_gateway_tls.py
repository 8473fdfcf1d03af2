"""The doctor checks https:// at the gateway without an operator's certificate."""

from __future__ import annotations

import json

from click.testing import CliRunner
from tests.support.own_simulator import simulator
from tests.support.running import wirekey_behind

from wirekey.core.ca import authority
from wirekey.features.doctor.command import command as doctor
from wirekey.providers.hosts import provider_hosts

__all__ = ["simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}


def look(folder):
    response = CliRunner().invoke(doctor, ["--config", str(folder / "wirekey.yaml"), "--only", "ports", "--json"])
    return {finding["subject"]: finding for finding in json.loads(response.stdout)["findings"]}


def test_the_doctor_checks_the_tls_gateway(tmp_path, simulator):
    with wirekey_behind(tmp_path, simulator, listen=LISTEN) as wirekey:
        found = look(tmp_path)
        assert found["listen.gateway"]["message"] == f"{wirekey.running.gateway} responds"
        assert found["gateway TLS"]["level"] == "ok"


def test_a_ca_of_an_older_version_is_skipped(tmp_path, simulator, monkeypatch):
    monkeypatch.setattr("wirekey.core.ca.certificates.GATEWAY", [])
    authority.ensure(tmp_path / "certs", list(provider_hosts()))
    monkeypatch.undo()
    with wirekey_behind(tmp_path, simulator, listen=LISTEN):
        assert look(tmp_path)["gateway TLS"]["level"] == "skipped"
