"""Links work, commands are run or have a reason not to be, and pages have nothing specific to one machine."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import CHECKOUT, COMMAND_LANGUAGES, blocks_of, page_names, prose_of, text_of
from wirekey.config import load

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PAGES = page_names()
KNOWN_ABOUT = {"not run", "needs", "exit", "file", "shows", "configuration", "data"}
NOT_FOR_READERS = {
    "a path of one machine": r"(?<![\w.])/(?:root|home|Users|work|tmp|opt/(?:pypi|wheels))/",
    "a host of a package registry": r"pypi\.org|pythonhosted|npmjs|proxy\.golang|crates\.io|maven\.org|rubygems",
    "a key that could be real": r"sk-(?:ant-)?[A-Za-z0-9]{20,}|AIza[A-Za-z0-9_-]{30,}|AKIA[A-Z0-9]{16}",
}


def anchors_of(page: str) -> set[str]:
    """Return the anchors that GitHub makes for the headings."""
    fenced = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", fenced, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_work(page):
    broken = []
    for link in LINK.findall(prose_of(page)):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (CHECKOUT / page).parent.joinpath(path).resolve() if path else CHECKOUT / page
        known = target.exists() and (not anchor or anchor in anchors_of(target.relative_to(CHECKOUT).as_posix()))
        broken += [] if known else [link]
    assert not broken


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        for link in LINK.findall(prose_of(page)):
            target = (CHECKOUT / page).parent.joinpath(link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and CHECKOUT in target.parents:
                name = target.relative_to(CHECKOUT).as_posix()
                waiting += [name] if name not in reached else []
    assert not set(PAGES) - reached


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("what", NOT_FOR_READERS)
def test_a_page_does_not_contain(what, page):
    found = re.search(NOT_FOR_READERS[what], text_of(page))
    assert not found, f"{page}: {found[0] if found else ''}"


@pytest.mark.parametrize("page", PAGES)
def test_a_comment_before_a_block_is_a_known_one(page):
    unknown = [(block.name, set(block.about) - KNOWN_ABOUT) for block in blocks_of(page)]
    assert not [entry for entry in unknown if entry[1]]
    assert not [block.name for block in blocks_of(page) if block.about.get("not run") == ""]
    assert not [block.name for block in blocks_of(page) if not block.language]
    assert not [block.name for block in blocks_of(page) if "not run" in block.about and not block.has_commands]


def test_there_are_blocks_of_commands_to_run():
    blocks = [block for page in PAGES for block in blocks_of(page) if block.language in COMMAND_LANGUAGES]
    run = [block for block in blocks if "not run" not in block.about]
    assert len(run) >= 20
    assert len(run) > len(blocks) - len(run)


FILE_NAME = re.compile(r"`((?:[\w.-]+/)+|(?:[\w.-]+/)*[\w-]+\.(?:py|cjs|js|rego))`")
ROOTS = (
    "",
    "addons",
    "addons/wirekey",
    "addons/wirekey/core",
    "addons/wirekey/core/wire",
    "addons/wirekey/core/wire/speed",
)
OF_READERS = {"my_auth.py", "entra.py", "hello.py", "policy.rego", "models/"}
"""Files and folders that a reader makes, and that the checkout does not have."""


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_the_files_that_a_page_names_exist(page):
    text = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    named = {
        name for name in FILE_NAME.findall(text) if name not in OF_READERS and not name.startswith(("certs/", "state/"))
    }
    missing = [name for name in named if not any((CHECKOUT / root / name).exists() for root in ROOTS)]
    assert not sorted(missing)


CONFIGURATIONS = [block for page in PAGES for block in blocks_of(page) if "configuration" in block.about]


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=lambda block: block.name)
def test_a_configuration_that_is_shown_loads_and_is_in_effect(block, tmp_path):
    environ = dict.fromkeys(re.findall(r"env:(\w+)", block.text), "x" * 20)
    file = tmp_path / "wirekey.yaml"
    text = block.text
    for path in re.findall(r"file:(/[\w./-]+)", text):
        (tmp_path / Path(path).name).write_text("-----BEGIN PRIVATE KEY-----" if path.endswith(".pem") else "x" * 20)
        text = text.replace(f"file:{path}", f"file:{tmp_path / Path(path).name}")
    if match := re.search(r"^upstream_ca_file: (\S+)", text, re.MULTILINE):
        (tmp_path / Path(match[1]).name).write_text("-----BEGIN CERTIFICATE-----\n")
        text = text.replace(match[1], str(tmp_path / Path(match[1]).name))
    file.write_text(text)
    load(file, environ)


REFUSAL = re.compile(r"Refusal\(\s*(\d{3}),\s*\"([a-z_]+)\"")
REFUSALS = {
    found.groups()
    for path in (CHECKOUT / "addons" / "wirekey").rglob("*.py")
    for found in REFUSAL.finditer(path.read_text(encoding="utf-8"))
}


def test_the_refusals_are_found_in_the_code():
    assert {("401", "no_agent"), ("503", "no_provider_key"), ("504", "upstream_timeout")} <= REFUSALS


@pytest.mark.parametrize(("status", "code"), sorted(REFUSALS))
def test_troubleshooting_says_what_to_do_about_each_refusal(status, code):
    section = re.search(
        rf"^\*\*{status}\*\*(.*?)(?=^\*\*\d|^## )", text_of("docs/troubleshooting.md"), re.MULTILINE | re.DOTALL
    )
    assert section, f"docs/troubleshooting.md has nothing on {status}"
    assert f"`{code}`" in section[1] or status == "407"


def test_troubleshooting_names_no_code_that_is_not_in_the_code():
    text = text_of("docs/troubleshooting.md").partition("## By status")[2].partition("## Streams")[0]
    named = set(re.findall(r"^- `([a-z_]+)`:", text, re.MULTILINE))
    assert len(named) > 10
    assert not named - {code for _, code in REFUSALS}
