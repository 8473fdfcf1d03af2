"""Makes the picture of the console for the README: python -m tests.browser.picture

It records calls of the past hour, starts a Wirekey with the simulator, makes a few calls, and saves
docs/images/console.png.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import LISTEN, POLICY, Scene
from tests.support.recorded_calls import call_of, finish
from tests.support.running import SimulatorThread, wirekey_behind
from wirekey.core.audit.event import event_of
from wirekey.core.audit.schema import INSERT, open_for_writing
from wirekey.core.call import Outcome
from wirekey.core.operation import Usage

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "console.png"
SIZE = {"width": 1280, "height": 800}
LARGEST = 200 * 1024
AGENTS = {"alice": "engineer", "nightly-report": "batch", "support-bot": "service", "guest-7": "guest"}
SHARES = (6, 4, 3, 1)
MODELS = {"gpt-4o": "openai", "gpt-4o-mini": "openai", "claude-sonnet-4-5": "anthropic", "gemini-2.5-flash": "gemini"}
MINUTES = 60


def main() -> None:
    """Save the picture. Raises AssertionError if it is larger than 200 KiB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record_past_hour(folder / "wirekey" / "state")
        (folder / "policies").mkdir()
        (folder / "policies" / "authz.rego").write_text(POLICY)
        simulator = SimulatorThread(folder / "simulator")
        try:
            settings = {"listen": LISTEN, "policy": {"path": str(folder / "policies")}}
            with wirekey_behind(folder / "wirekey", simulator, **settings) as proxy:
                take_picture(Scene(proxy))
        finally:
            simulator.stop()
    assert PICTURE.stat().st_size <= LARGEST, PICTURE.stat().st_size


def record_past_hour(state: Path) -> None:
    """Write the events of an hour that has a quiet and a busy half, as an audit file."""
    chosen, now = random.Random(7), time.time()  # much the same in each picture
    state.mkdir(parents=True, mode=0o700)
    with contextlib.closing(open_for_writing(state / "audit.db", "commit", 1)) as database:
        for minute in range(MINUTES, 0, -1):
            for _ in range(int(14 + 11 * math.sin(minute / 9) + chosen.random() * 6)):
                call = past_call(chosen, now - minute * 60 + chosen.random() * 60)
                database.execute(INSERT, tuple(event_of(call).values()))


def past_call(chosen: random.Random, started_at: float):
    """Return a call that has ended: most are completed, some of the guest are denied."""
    agent = chosen.choices(list(AGENTS), SHARES)[0]
    model = chosen.choice(list(MODELS))
    call = call_of(
        agent=agent,
        provider=MODELS[model],
        model=model,
        started_at=started_at,
    )
    first_byte = 150 + chosen.expovariate(1 / 120)
    usage = Usage(chosen.randint(200, 1500), chosen.randint(40, 500), 0, 0, "stop", model)
    finish(
        call,
        usage=usage,
        cost_usd=usage.input_tokens * 2e-6 + usage.output_tokens * 8e-6,
        ttfb_ms=first_byte,
        duration_ms=first_byte + 300 + chosen.expovariate(1 / 400),
    )
    if agent == "guest-7" and chosen.random() < 0.6:
        call.outcome, call.status, call.policy_result, call.usage, call.cost_usd = (
            Outcome.DENIED,
            403,
            "deny",
            None,
            None,
        )
        call.duration_ms, call.ttfb_ms, call.attempts = 2.0, None, 0
    elif chosen.random() < 0.02:
        call.outcome, call.status, call.usage, call.cost_usd = Outcome.UPSTREAM_ERROR, 502, None, None
    return call


def take_picture(scene: Scene) -> None:
    """Make some calls, open the page and save it."""
    for agent, role in AGENTS.items():
        scene.add(agent, role=role)
    for agent, model in (
        ("support-bot", "gpt-4o"),
        ("guest-7", "o3-mini"),
        ("alice", "gpt-4o-mini"),
        ("alice", "gpt-4o"),
    ):
        scene.call(agent, model)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page(viewport=SIZE)
        page.goto(scene.link())
        page.locator("#link[data-state=live]").wait_for()
        page.locator("#rows tr").first.wait_for()
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
