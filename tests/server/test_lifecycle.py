"""A failed start leaves nothing behind: no process, no thread, no lock."""

from __future__ import annotations

import threading

import pytest
from mitmproxy import exceptions

from tests.endpoints.test_endpoints import Running, configured, wirekey
from tests.server.test_reload import LISTS, children, policy  # noqa: F401  # a fixture

GOOD = "good"


def spoil(folder, what):
    more = {"policy": policy(folder, GOOD, LISTS)}
    if what == "policy":
        more = {"policy": policy(folder, "broken", "package p.authz\ndeny if {")}
    elif what == "issuer":
        issuer = {"issuer": "https://id.example/", "key": str(folder / "missing.pem"), "audience": "x"}
        more |= {"identity": {"jwt": {"issuers": [issuer]}}}
    elif what == "audit":
        (folder / "state" / "audit.db").write_text("not a database " * 100)
    elif what == "agents":
        (folder / "state" / "agents.json").write_text("{")
    return configured(folder, **more)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("policy", "Wirekey cannot start: .*a.rego:2"),
        ("issuer", "Wirekey cannot start: The key of the issuer https://id.example/: .*missing.pem cannot be read"),
        ("audit", "Wirekey cannot start: .*audit.db cannot be used"),
        ("agents", "Wirekey cannot start: .*agents.json is not a valid list of agents"),
    ],
)
async def test_a_failed_start_reports_the_reason_and_leaves_nothing_behind(
    tmp_path,
    children,  # noqa: F811  # a fixture
    what,
    sentence,
):
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / GOOD).mkdir()
    config = spoil(tmp_path, what)
    threads = set(threading.enumerate())
    with pytest.raises(exceptions.OptionsError, match=sentence):
        Running(tmp_path, config)
    assert set(threading.enumerate()) == threads
    assert not any(each.poll() is None for each in children)
    assert (what == "audit") <= bool(children)

    for name in ("audit.db", "agents.json"):
        (tmp_path / "state" / name).unlink(missing_ok=True)
    async with wirekey(tmp_path, configured(tmp_path)) as running:
        assert running.lifecycle.running_proxy
