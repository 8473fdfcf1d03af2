"""Open sessions in a real browser: what they have used is shown, and nothing of what is said in them."""

from __future__ import annotations

import contextlib
import json
import ssl
from urllib.parse import quote

import pytest
from websockets.sync.client import connect

from tests.browser.test_page import serious
from tests.support.running import PATIENCE, PROVIDER_KEYS, wait_for

CANARY = "CANARY-of-a-frame-3e90"
HOSTILE = "<img src=x onerror=document.title='pwned'>"


@contextlib.contextmanager
def session(scene, agent="alice", model="gpt-realtime"):
    """An open session of an agent. It yields a function that asks for a response and waits for its end."""
    with connect(
        f"wss://api.openai.com/v1/realtime?model={quote(model, safe='')}",
        proxy=scene.proxy.proxy_url(agent, scene.tokens[agent]),
        ssl=ssl.create_default_context(cafile=scene.proxy.root),
        close_timeout=PATIENCE,
    ) as socket:

        def respond():
            socket.send(json.dumps({"type": "response.create", "response": {"instructions": CANARY}}))
            while json.loads(socket.recv(PATIENCE))["type"] != "response.done":
                pass

        yield respond


@contextlib.contextmanager
def live_session(scene, model):
    """An open session of Gemini Live, whose first message names the model, with one turn."""
    with connect(
        "wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
        proxy=scene.proxy.proxy_url("alice", scene.tokens["alice"]),
        ssl=ssl.create_default_context(cafile=scene.proxy.root),
        close_timeout=PATIENCE,
    ) as socket:
        socket.send(json.dumps({"setup": {"model": f"models/{model}"}}))
        assert "setupComplete" in json.loads(socket.recv(PATIENCE))
        turn = {"turns": [{"role": "user", "parts": [{"text": CANARY}]}], "turnComplete": True}
        socket.send(json.dumps({"clientContent": turn}))
        while "turnComplete" not in json.loads(socket.recv(PATIENCE)).get("serverContent", {}):
            pass
        yield


def rows(page):
    return page.locator("#session-rows tr")


def cells(page, name: str) -> list[str]:
    """The cells of the session with this model."""
    return rows(page).filter(has_text=name).locator("td").all_inner_texts()


def test_a_session_is_shown_with_what_it_has_used_until_it_closes(scene, page):
    page.locator("#sessions").wait_for(state="hidden")
    with session(scene) as respond:
        respond()
        respond()
        wait_for(lambda: rows(page).count() == 1 and cells(page, "gpt-realtime")[3] == "2", "two responses")
        age, agent, model, _, tokens, cost = cells(page, "gpt-realtime")
        used = [event for event in scene.proxy.events() if event["parent_id"]]
        sums = {name: sum(event[name] for event in used) for name in used[0] if name.endswith("put_tokens")}
        assert age.endswith(" s")
        assert (agent, model.split("\n")) == ("alice", ["gpt-realtime", "openai · realtime"])
        assert tokens.split("\n") == [
            f"{sums['input_tokens']} → {sums['output_tokens']}",
            f"audio {sums['audio_input_tokens']} → {sums['audio_output_tokens']}",
        ]
        assert float(cost.removeprefix("$")) == pytest.approx(sum(event["cost_usd"] for event in used), rel=0.1)
        rows(page).locator("button").click()
        page.locator("#drawer").get_by_text("realtime", exact=True).wait_for()
        page.keyboard.press("Escape")
    page.locator("#sessions").wait_for(state="hidden")


def test_a_session_of_gemini_live_is_shown_with_the_model_of_its_first_message(scene, page):
    with live_session(scene, "gemini-live-2.5-flash-preview"):
        wait_for(lambda: rows(page).count() == 1 and cells(page, "gemini-live")[3] == "1", "one turn")
        assert "gemini · realtime" in cells(page, "gemini-live")[2]


def test_hostile_names_stay_text_and_nothing_that_is_said_is_shown(scene, page):
    with session(scene, model=HOSTILE) as respond:
        respond()
        wait_for(lambda: rows(page).count() == 1 and cells(page, HOSTILE)[3] == "1", "the response")
        assert cells(page, HOSTILE)[2].split("\n")[0] == HOSTILE
        shown = page.content() + page.evaluate("fetch('/console/state').then(r => r.text())")
        hidden = [CANARY, "Hello from the simulator", *PROVIDER_KEYS.values(), *scene.tokens.values()]
        assert [words for words in hidden if words in shown] == []
    assert page.title() == "Wirekey"
    assert page.locator("main img, dialog img").count() == 1  # that of the sign-in


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_everyone_can_read_the_sessions_wide_and_narrow(scene, page, width, scheme, tmp_path):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    with session(scene) as first, session(scene, "guest-7", "gpt-realtime-" + "long-" * 30):
        first()
        wait_for(lambda: rows(page).count() == 2 and cells(page, "alice")[3] == "1", "both sessions")
        page.locator("#sessions").scroll_into_view_if_needed()
        page.screenshot(path=tmp_path / f"sessions-{width}-{scheme}.png")
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
