"""mitmweb in a real browser: what an operator sees of a Bedrock call."""

import os
import re
import shutil

import pytest

from tests.support.running import PATIENCE
from tests.support.stream_formats import FORMATS
from wirekey_simulator.text import TEXT

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
COMMENT = re.compile(
    r"allow \| alice \| bedrock converse-stream \| .* \| stream \| completed 200 \| end_turn \| 9 input"
)


@pytest.fixture
def page(keeping):
    keeping.api.clear()
    with playwright.sync_playwright() as driver:
        # Without its sandbox where root runs the tests, as in a container.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(keeping.api.address)
        page.get_by_text("No flows have been recorded yet.").wait_for()
        yield page
        browser.close()


def test_the_page_shows_marker_comment_and_the_event_stream_of_a_bedrock_call(keeping, page, tmp_path):
    keeping.way.stream(FORMATS["bedrock-converse"])
    row = page.locator("tr", has_text="converse-stream")
    row.get_by_text("✅").wait_for()
    row.get_by_text(COMMENT).wait_for()
    row.click()
    page.get_by_text("Response", exact=True).click()
    page.get_by_text("AWS event stream").wait_for()
    for text in (TEXT, "messageStart", "contentBlockDelta", "messageStop"):
        page.get_by_text(text).first.wait_for()
    page.screenshot(path=tmp_path / "answer.png")
    page.locator("nav").get_by_text("Comment", exact=True).click()
    page.locator("section").get_by_text(COMMENT).wait_for()
    page.screenshot(path=tmp_path / "comment.png")
