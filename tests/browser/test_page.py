"""The console's page in a real browser, with real calls: what an operator sees, and who sees nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.browser.conftest import PROMPT
from tests.support.running import PROVIDER_KEYS, wait_for
from wirekey.core.audit.event import NAMES
from wirekey.core.command_name import COMMAND

AXE = Path(__file__).parents[1] / "clients/node/node_modules/axe-core/axe.min.js"
SERIOUS = ("serious", "critical")


def rows(page):
    return page.locator("#rows tr")


def models(page):
    return [text.split("\n")[0] for text in page.locator("#rows tr td:nth-child(3)").all_inner_texts()]


def choose(page, **filters):
    for name, value in filters.items():
        page.locator(f"#filters [name={name}]").select_option(value)


def serious(page) -> list:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: run npm ci in tests/clients/node")
    # By the debugger's way, as the page's own policy allows no script of others.
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": AXE.read_text()})
    found = session.send(
        "Runtime.evaluate",
        {"expression": "axe.run(document).then(r => JSON.stringify(r.violations))", "awaitPromise": True},
    )
    return [
        (one["id"], one["help"], [node["html"][:200] for node in one["nodes"]][:3])
        for one in json.loads(found["result"]["value"])
        if one["impact"] in SERIOUS
    ]


def test_before_there_is_a_call_the_page_says_how_to_make_one(scene, page):
    page.get_by_text(f"{COMMAND} exec --agent alice -- python my_program.py").wait_for()
    page.get_by_text("No denials among the latest calls.").wait_for()


def test_a_call_is_on_the_page_within_a_moment(scene, page):
    scene.call("alice", "gpt-4o-mini")
    row = rows(page).first
    row.get_by_text("completed").wait_for()
    for text in ("alice", "gpt-4o-mini", "openai · chat.completions"):
        assert text in row.inner_text()
    assert "→" in row.inner_text()


def test_a_call_is_shown_while_it_is_in_progress_and_its_row_becomes_that_of_its_end(scene, page, simulator):
    with scene.program("alice") as client:
        content = {"model": "gpt-4.1-nano", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
        headers = {"x-simulator": "events=15, pace=0.2"}
        with client.stream("POST", "https://api.openai.com/v1/chat/completions", json=content, headers=headers) as got:
            pieces = got.iter_raw()
            next(pieces)
            rows(page).first.get_by_text("in progress").wait_for()
            for _ in pieces:
                pass
    rows(page).first.get_by_text("completed").wait_for()
    assert models(page).count("gpt-4.1-nano") == 1


def test_a_denial_is_shown_with_the_rule_that_spoke_in_the_table_and_beside_the_policy(scene, page):
    scene.call("guest-7", "o3-mini")
    rows(page).first.get_by_text("denied", exact=True).wait_for()
    assert "No o3 for guests." in rows(page).first.inner_text()
    page.locator("#policy").get_by_text("No o3 for guests.").first.wait_for()
    page.locator("#policy button").first.click()
    page.locator("#drawer").get_by_text("No o3 for guests.").wait_for()


def test_filters_choose_rows_and_options_are_what_was_seen(scene, page):
    scene.call("alice", "gpt-4o")
    scene.call("guest-7", "gpt-4o-mini")
    scene.call("guest-7", "o3-mini")
    # In their order: the page also has calls of other tests, with the same models.
    wait_for(lambda: models(page)[:3] == ["o3-mini", "gpt-4o-mini", "gpt-4o"], "the three calls")
    choose(page, model="gpt-4o")
    assert set(models(page)) == {"gpt-4o"}
    choose(page, agent="guest-7")
    page.get_by_text("No calls match these filters.").wait_for()
    page.get_by_role("button", name="Clear the filters").click()
    wait_for(lambda: len(set(models(page))) >= 3, "all calls again")
    choose(page, outcome="denied")
    assert set(models(page)) == {"o3-mini"}
    choose(page, outcome="", provider="openai")
    page.locator("#filters [name=text]").fill("NO O3")
    assert set(models(page)) == {"o3-mini"}
    before = rows(page).count()
    scene.call("alice", "gpt-4.1")
    scene.call("guest-7", "o3-pro")
    wait_for(lambda: rows(page).count() == before + 1, "only the call that passes")
    assert models(page)[0] == "o3-pro"


def test_labels_are_shown_and_can_be_chosen(scene, page):
    scene.call("alice", "gpt-4.1-mini")
    scene.call("alice", "gpt-4.1-mini", headers={"session_id": "session-7"})
    label = "session: session-7 (unverified)"
    rows(page).first.get_by_text(label).wait_for()
    before = rows(page).count()
    choose(page, label=label)
    assert rows(page).count() == 1 < before


def test_while_paused_rows_stay_as_they_are_and_what_is_new_is_counted(scene, page):
    scene.call("alice", "gpt-4o")
    # Not the row of another test's call: one that arrives later would count as new.
    rows(page).first.filter(has_text="gpt-4o").get_by_text("completed").wait_for()
    page.get_by_role("button", name="Pause").click()
    shown = page.locator("#rows").inner_text()
    scene.call("alice", "gpt-4.1", 3)
    page.get_by_role("button", name="Resume, 3 new").wait_for()
    assert page.locator("#rows").inner_text() == shown
    assert page.locator("#link-text").inner_text() == "paused"
    page.get_by_role("button", name="Resume, 3 new").click()
    assert models(page)[:3] == ["gpt-4.1"] * 3


def test_the_drawer_has_the_whole_event_and_is_worked_by_keyboard(scene, page):
    scene.call("alice", "gpt-4o", 2)
    latest = scene.proxy.events()[-1]["id"]
    wait_for(lambda: rows(page).first.get_attribute("data-id") == latest, "the row of the latest call")
    page.locator("#rows button").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    drawer = page.locator("#drawer")
    drawer.wait_for()
    opened = rows(page).nth(1).get_attribute("data-id")
    shown = dict(zip(drawer.locator("dt").all_inner_texts(), drawer.locator("dd").all_inner_texts(), strict=True))
    assert set(shown) == set(NAMES)
    assert shown["id"] == opened
    assert shown["credential"] == "openai/1"
    assert shown["max_tokens"] == "unknown"
    page.keyboard.press("Escape")
    drawer.wait_for(state="hidden")
    focused = page.evaluate("document.activeElement.closest('tr')?.dataset.id")
    assert focused == opened


def test_the_totals_have_bars_lines_and_a_table_for_each_period_and_group(scene, page):
    scene.call("alice", "gpt-4o", 3)
    scene.call("guest-7", "o3-mini")
    for period in ("hour", "day", "week"):
        page.locator("#period").get_by_text(period).click()
        page.locator(f"#plots svg[aria-label^='Calls over the last {period}']").wait_for()
        wait_for(lambda: page.locator("#plots rect[class^=f]").count() >= 4, "bars")
        assert page.locator("#plots circle, #plots path").count() >= 2
    for by, name in (("model", "gpt-4o"), ("provider", "openai"), ("agent", "guest-7")):
        page.locator("#by").get_by_text(f"by {by}").click()
        page.locator("#groups tbody").get_by_text(name, exact=True).wait_for()
    calls = page.locator("#plots .value").first
    counted = len(scene.proxy.events())
    page.locator("#period").get_by_text("hour").click()
    wait_for(lambda: calls.inner_text() == str(counted), "the count of all calls")


def test_a_plot_says_what_its_bars_are_under_the_pointer(scene, page):
    scene.call("alice", "gpt-4o")
    bar = page.locator("#plots .plot").first.locator("rect[class^=f]").last
    bar.wait_for()
    bar.hover()
    assert "alice" in page.locator("#plots .read").first.inner_text()


def test_keys_agents_policy_and_listeners_are_told_and_no_key(scene, page):
    for label in ("openai/1", "gemini/1", "anthropic/1", "bedrock/1"):
        page.locator("#keys").get_by_text(label, exact=True).wait_for()
    assert "guest-7" in page.locator("#agents").inner_text()
    assert "Revision" in page.locator("#policy").inner_text()
    assert scene.proxy.running.forward in page.locator("#foot").inner_text()


def test_a_refused_key_is_shown_as_cooling_down_and_needs_attention(scene, page, simulator):
    with scene.program("alice") as client:
        answer = client.get(
            "https://generativelanguage.googleapis.com/v1beta/models",
            headers={"x-simulator": "fail=429, retry-after=300"},
        )
    if answer.status_code != 429:
        pytest.fail(f"the simulator answered {answer.status_code}")
    page.locator("#attention").get_by_text("The only key of gemini is cooling down").wait_for()


def test_a_link_signs_in_once_and_leaves_no_trace_in_the_address(scene, page, open_page):
    link = scene.link()
    first = open_page()
    first.goto(link)
    first.locator("#console").wait_for()
    assert first.url == f"{scene.url}/"
    second = open_page()
    second.goto(link)
    second.get_by_text("the link was used or is too old").wait_for()
    assert second.locator("#console").is_hidden()
    # The browser itself notes both answers of 401.
    assert all("401" in error for error in second.errors)
    second.errors.clear()


def test_the_token_signs_in_by_hand_and_signing_out_ends_it(scene, open_page):
    page = open_page()
    page.goto(scene.url)
    page.get_by_label("Or paste the operator token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("This is not the token").wait_for()
    page.get_by_label("Or paste the operator token").fill((scene.proxy.state / "console-token").read_text())
    page.get_by_role("button", name="Sign in").click()
    page.locator("#link[data-state=live]").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.locator("#sign-in-view").wait_for()
    page.reload()
    page.locator("#sign-in-view").wait_for()
    assert all("401" in error for error in page.errors)
    page.errors.clear()


def test_names_of_strangers_stay_text(scene, page):
    nasty = "<img src=x onerror=document.title='pwned'>"
    scene.call("alice", nasty)
    wait_for(lambda: nasty in models(page), "the strange name")
    page.locator("#rows button").first.click()
    page.locator("#drawer").get_by_text(nasty).first.wait_for()
    page.keyboard.press("Escape")
    page.locator("#by").get_by_text("by model").click()
    page.locator("#groups tbody").get_by_text(nasty).wait_for()
    assert page.title() == "Wirekey"
    assert page.locator("main img, dialog img").count() == 1  # that of the sign-in


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (360, "light"), (360, "dark")])
def test_everyone_can_use_it_wide_and_narrow_light_and_dark(scene, page, width, scheme, tmp_path):
    scene.call("alice", "gpt-4o")
    scene.call("guest-7", "o3-mini")
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    rows(page).first.get_by_text("denied", exact=True).wait_for()
    page.locator("#groups tbody tr").first.wait_for()
    page.screenshot(path=tmp_path / f"{width}-{scheme}.png")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator("#rows button").first.click()
    page.locator("#drawer").wait_for()
    assert serious(page) == []
    page.screenshot(path=tmp_path / f"{width}-{scheme}-drawer.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everyone_can_sign_in(scene, open_page, scheme):
    page = open_page(360, 700, scheme)
    page.goto(scene.url)
    page.locator("#sign-in-view").wait_for()
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.errors.clear()  # the browser notes that the state was asked for in vain


TABLE = """(() => {
  const names = ["id", "time", "agent_id", "provider", "model", "method", "path", "outcome", "status"];
  const calls = new Calls(names, () => {});
  let number = 0;
  const batch = (size) => Array.from({ length: size }, () => [String(number++).padStart(12, "0"),
    "2026-11-21T10:00:00.000Z", `agent-${number % 500}`, "openai", `model-${number}`, "POST",
    "/v1/chat/completions", "completed", 200]);
  return { calls, add: (size) => calls.add(batch(size), 3) };
})()"""
STEP_LIMIT = 10_000
"""Milliseconds after which the browser ends a script of the test that does not return."""


class Table:
    """The page's table of calls, without its live feed. Each step is a script that the browser ends at its limit."""

    def __init__(self, page):
        self.session = page.context.new_cdp_session(page)
        page.evaluate("import('/console/calls.js').then((module) => { window.Calls = module.Calls; })")
        self.run(f"window.table = {TABLE}; null")

    def run(self, script: str):
        answer = self.session.send(
            "Runtime.evaluate", {"expression": script, "timeout": STEP_LIMIT, "returnByValue": True}
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def add(self, count: int, size: int) -> int:
        """Add calls in batches; return the bytes of the heap afterwards."""
        for _ in range(count // size):
            self.run(f"table.add({size})")
        return self.run("gc(); performance.memory.usedJSHeapSize")


@pytest.fixture
def table(scene, open_page):
    page = open_page()
    # Without the page's main script: it would show the calls of the running Wirekey in the same table.
    page.route("**/console/main.js", lambda route: route.fulfill(content_type="text/javascript", body=""))
    page.goto(scene.url)
    page.evaluate("document.getElementById('console').hidden = false")
    return Table(page)


def test_a_page_that_is_left_open_does_not_grow_with_the_calls(table):
    before = table.add(3000, 100)
    table.add(92000, 4000)
    after = table.add(5000, 100)
    assert table.run("document.querySelectorAll('#rows tr').length") == 500
    assert table.run("table.calls.rows.size") <= 500
    assert table.run("table.calls.known.size") == table.run("table.calls.list.length") == 2000
    assert table.run("document.querySelectorAll('#filters option').length") < 500
    assert after - before < 4_000_000


def test_rows_that_the_table_does_not_know_do_not_keep_it_busy(table):
    table.run("for (let row = 0; row < 600; row++) table.calls.body.append(document.createElement('tr')); null")
    table.add(100, 100)
    assert table.run("document.querySelectorAll('#rows tr').length") == 500


def test_calls_that_arrive_in_any_order_are_listed_newest_first(table):
    table.run("window.ids = ['7', '1', '9', '3', '8', '2', '5']; null")
    table.run("for (const id of ids) table.calls.add([[id, '2026-11-21T10:00:00.000Z']]); null")
    assert table.run("table.calls.list") == ["9", "8", "7", "5", "3", "2", "1"]
    assert table.run("[...document.querySelectorAll('#rows tr')].map((row) => row.dataset.id)") == list("9875321")


def first_of_feed(scene, page) -> str:
    """What the feed sends of one call, until its end."""
    page.evaluate(
        """() => {
          window.heard = "";
          const source = new EventSource("/console/events");
          source.onmessage = (event) => { window.heard += event.data; };
          return new Promise((opened) => source.addEventListener("start", opened, { once: true }));
        }"""
    )
    scene.call("alice", "gpt-4o", stream=True)
    wait_for(lambda: "completed" in page.evaluate("window.heard"), "the end of the call")
    return page.evaluate("window.heard")


def test_nothing_secret_and_nothing_of_what_was_said_reaches_the_page(scene, page):
    scene.call("alice", "gpt-4o", stream=True)
    rows(page).first.get_by_text("completed").wait_for()
    page.locator("#rows button").first.click()
    asked = {"state": "openai/1", "calls": "gpt-4o", "calls?denied=1": "rows", "totals?period=day&by=model": "gpt-4o"}
    seen = {"the page": page.content()}
    for path in asked:
        seen[path] = page.evaluate(f"fetch('/console/{path}').then(r => r.text())")
    seen["the feed"] = first_of_feed(scene, page)
    secrets = [PROMPT, "Hello from the simulator", *PROVIDER_KEYS.values(), *scene.tokens.values()]
    secrets.append((scene.proxy.state / "console-token").read_text().strip())
    for path, text in seen.items():
        assert asked.get(path, "gpt-4o") in text, path
        assert [secret for secret in secrets if secret in text] == [], path
    log = scene.proxy.output.read_text()
    assert [secret for secret in secrets if secret in log] == []
