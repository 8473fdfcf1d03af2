"""The pictures in docs/architecture.md show the code as it is: the path of a call, and the folders."""

import re
from pathlib import Path

import pytest

from wirekey.core.calls.services import Services
from wirekey.server.bundle import addons_in_order

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PATH_OF_A_CALL, PLAN = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NOT_QUESTIONS = {"lifecycle", "request start", "call log", "draining", "endpoints"}
"""Addons of the core that neither decide nor change a call."""


def words_of(addon: object) -> str:
    """Return the name of an addon as the picture has it: `request hooks` for RequestHooks."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(addon).__name__).lower()


ADDONS = addons_in_order(Services())
ORDER = [words_of(addon) for addon in ADDONS]
FEATURES = [words_of(addon) for addon in ADDONS if ".features." in type(addon).__module__]


def folders_in_plan() -> set[str]:
    """Return the folders that the plan shows, each with its path below the root: `addons/wirekey/core/`."""
    found, parents = set[str](), dict[int, str]()
    for line in PLAN.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()
        if not name.endswith("/"):
            continue
        path = "".join(parents[depth] for depth in sorted(parents) if depth < len(indent)) + name
        parents = {depth: part for depth, part in parents.items() if depth < len(indent)} | {len(indent): name}
        found.add(path)
    return found


def folders_in_code() -> set[str]:
    """Return the packages of the product, down to each feature, provider and package of the core."""
    product = ROOT / "addons" / "wirekey"
    inner = ("core", "features", "providers", "formats")
    files = [*ROOT.glob("addons/*/__init__.py"), *product.glob("*/__init__.py")]
    files += [file for name in inner for file in (product / name).glob("*/__init__.py")]
    return {f"{file.parent.relative_to(ROOT)}/" for file in files} | {"addons/"}


def test_the_plan_shows_each_folder():
    assert folders_in_plan() == folders_in_code()


def test_the_path_of_a_call_has_the_addons_in_their_order():
    shown = re.findall(r"^(?: {4}| {7}│ {27})([a-z]+(?: [a-z]+)?)  ", PATH_OF_A_CALL, re.MULTILINE)
    shown.remove("wire")  # not an addon
    assert len(shown) > 10
    assert shown == sorted(shown, key=ORDER.index)


@pytest.mark.parametrize(
    "addon", [addon for addon in ADDONS if ".features." not in type(addon).__module__], ids=words_of
)
def test_the_path_of_a_call_has_each_question_of_the_core(addon):
    assert words_of(addon) in NOT_QUESTIONS or re.search(rf"\b{words_of(addon)}\b", PATH_OF_A_CALL)


def test_the_path_of_a_call_says_which_addons_are_features():
    found = re.findall(r"^ {4}([a-z]+(?: [a-z]+)?)  .*\(a feature", PATH_OF_A_CALL, re.MULTILINE)
    shown = re.findall(r"^ {4}([a-z]+(?: [a-z]+)?)  ", PATH_OF_A_CALL, re.MULTILINE)
    assert found
    assert found == [name for name in shown if name in FEATURES]
