"""Runs and sessions in a real browser: trees that grow with their calls, and list them."""

from __future__ import annotations

import ssl

import httpx
import pytest

from tests.browser.conftest import PROMPT
from tests.browser.test_page import serious
from tests.support.running import PATIENCE, wait_for
from wirekey.core.identity.stored_runs import NewRun, StoredRuns

CENT = 10**7
LONG = "x" * 64


class Run:
    """A run of alice, whose program calls as Claude Code does."""

    def __init__(self, scene, name: str, **limits) -> None:
        self.scene, self.name = scene, name
        self.runs = StoredRuns(scene.proxy.agents)
        self.token = self.runs.start("alice", NewRun(name, **limits), lifetime=3600)

    def call(self, session: str, sub_agent: str | None = None, parent: str | None = None, model="gpt-4o") -> int:
        names = {"session-id": session, "agent-id": sub_agent, "parent-agent-id": parent}
        labels = {f"x-claude-code-{name}": value for name, value in names.items() if value}
        content = {"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": PROMPT}]}
        context = ssl.create_default_context(cafile=self.scene.proxy.root)
        proxy = self.scene.proxy.proxy_url("alice", self.token)
        with httpx.Client(proxy=proxy, verify=context, trust_env=False, timeout=PATIENCE) as client:
            url = "https://api.openai.com/v1/chat/completions"
            return client.post(url, json=content, headers={"x-simulator": "tokens=1000", **labels}).status_code


def row(page, name: str):
    """The row of the run, session or sub-agent of a name."""
    return page.locator("#tree-rows tr").filter(has=page.get_by_role("button", name=f" {name}", exact=False))


def text(page, name: str) -> str:
    return row(page, name).first.inner_text()


def test_a_run_grows_with_its_calls_and_a_node_lists_its_own(scene, page):
    run = Run(scene, "nightly-mend", budget=100 * CENT, calls=4)
    assert run.call("mend-s1") == 200
    row(page, "nightly-mend").first.wait_for()
    assert run.call("mend-s1", "mend-a1") == 200
    assert run.call("mend-s1", "mend-a2", "mend-a1") == 200
    wait_for(lambda: "3\nof 4" in text(page, "nightly-mend"), "the calls of the sub-agents")
    assert "open" in text(page, "nightly-mend")
    assert "of $1.00" in text(page, "nightly-mend")
    assert "unverified" not in text(page, "nightly-mend")
    assert "unverified" in text(page, "mend-a2")
    names = page.locator("#tree-rows tr").filter(has_text="mend").locator("[data-part=list]").all_inner_texts()
    assert names == ["nightly-mend", "mend-s1", "mend-a1", "mend-a2"]
    assert run.call("mend-s1", "mend-a2", "mend-a1", model="gpt-4o-mini") == 200
    assert run.call("mend-s1") == 429
    wait_for(lambda: "spent" in text(page, "nightly-mend"), "the end of the run")
    wait_for(lambda: "1 refused" in text(page, "nightly-mend"), "the refused call")
    page.get_by_role("button", name="sub-agent mend-a2, unverified, level 4: list its calls").click()
    label = "sub_agent: mend-a2 (unverified)"
    wait_for(lambda: page.locator("#rows tr").count() == 2, "the calls of the sub-agent")
    assert page.locator("#filters [name=label]").input_value() == label
    page.locator("#rows tr").filter(has_text="gpt-4o-mini").locator("button").click()
    page.locator("#drawer").get_by_text("mend-a2").wait_for()
    page.keyboard.press("Escape")
    run.runs.end("nightly-mend")
    wait_for(lambda: "ended" in text(page, "nightly-mend"), "the state")


def test_calls_that_the_page_has_not_seen_are_listed_and_a_node_can_be_closed(scene, page, open_page):
    scene.call("alice", "gpt-4.1", headers={"session_id": "codex-7", "originator": "codex_cli_rs"})
    row(page, "codex-7").first.wait_for()
    assert "alice" in text(page, "codex-7")
    page.evaluate("document.querySelectorAll('#rows tr').forEach((row) => row.remove())")
    page.get_by_role("button", name="session codex-7, unverified, level 1: list its calls").click()
    wait_for(lambda: page.locator("#rows tr").count() == 1, "the call of the session")
    assert "codex-7" in page.locator("#rows tr").inner_text()
    run = Run(scene, "closable")
    assert run.call("closable-s1") == 200
    row(page, "closable-s1").first.wait_for()
    toggle = page.get_by_role("button", name="run closable, level 1: what is below it")
    toggle.focus()
    page.keyboard.press("Enter")
    row(page, "closable-s1").wait_for(state="detached")
    assert toggle.get_attribute("aria-expanded") == "false"
    assert toggle.evaluate("one => one === document.activeElement")


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_everyone_can_read_the_trees_wide_and_narrow(scene, page, width, scheme, tmp_path):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    name = f"shown-{width}"
    run = Run(scene, name, budget=30 * CENT, calls=200, tokens=2_000_000, seconds=1800)
    Run(scene, f"unlimited-{width}")
    for place in (("s",), ("s", "a1"), ("s", "a2", "a1"), ("s", LONG, "a2")):
        assert run.call(*(part if part == LONG else f"{part}-{width}" for part in place)) == 200
    wait_for(lambda: "4\nof 200" in text(page, name), "the calls")
    row(page, LONG).first.wait_for()
    page.locator("#trees").scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / f"trees-{width}-{scheme}.png")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
