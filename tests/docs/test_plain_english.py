"""The pages, docstrings, comments and messages are in plain English: none has a phrase of the table below.

The pages include the generated ones, so the help of the commands and the descriptions of the settings are checked too.
Not checked are fenced blocks and code spans of the pages.
"""

from __future__ import annotations

import ast
import functools
import re
import tokenize
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.docs.pages import CHECKOUT, page_names, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Banned(NamedTuple):
    """A phrase, as a regular expression, and what to write instead."""

    pattern: str
    better: str


BANNED = (
    Banned(r"\banew\b", "again; restart"),
    Banned(r"\bin vain\b", "without success; fails"),
    Banned(r"(?i:\bbesides\b)", "in addition to"),
    Banned(r"(?i:\bmeanwhile\b)", "while; at the same time"),
    Banned(r"(?i:\bthereby\b)", "so"),
    Banned(r"\bformer\b(?! (?:OpenAI|name))", "previous"),
    Banned(r"\b(?:is|are|was|were) none\b(?! of)", "does not exist; is not valid"),
    Banned(r"\bnone the (?:worse|less)\b", "still"),
    Banned(r"\bno more\b(?! than|\s(?:data|events|bytes))", "no longer"),
    Banned(r"(?i:\bwho(?:so)?ever\b)", "a client that; the caller"),
    Banned(r"(?i:\bwhich rule spoke\b)", "which rule matched"),
    Banned(r"\brests\b|\brest a while\b|\b(?:keys?|accounts?) (?:that |all )?rest\b|\bresting\b", "cools down"),
    Banned(r"(?i:\bwhat becomes of\b)", "say what happens"),
    Banned(r"(?i:\bin earnest\b)", "in production"),
    Banned(r"\binto quotes\b", "in quotes"),
    Banned(r"\b[Rr]eplace[sd]? \w+ by\b", "replace … with"),
    Banned(r"(?<!\bin )\bin all(?=[.,;)]|$)", "in total"),
    Banned(r"(?:^|[.!] )(?:Who|Whoever|What|Where)\b(?![^.!?]*\?)", "name the subject first"),
    Banned(r"(?i:\b(?:house|desk|passage|stations?)\b)", "the word of the field, not a metaphor"),
    Banned(r"\b(?:lend|lends|lent|lending|gleans?|gleaned|sealing|sealed)\b", "reuse; read; redact"),
    Banned(r"\b(?:an|the|its|their|whose|no|each|of|HTTP) answers?\b", "response"),
    Banned(r"\banswer(?:s|ed) (?:with )?\d\d\d\b|\bis answered\b|\bare answered\b", "fails with; returns; gets"),
    Banned(r"\b(?:is|are|was|were|be|been) away\b(?! from)", "unreachable"),
    Banned(r"\b(?:go|goes|went) on(?: with\b| until\b| while\b|(?=[.,;:)]|$))", "continues"),
    Banned(r"\bunder[ _-]way\b", "open; in progress"),
    Banned(r"\bso many (?!\w+ that\b)\w+|\bhowever (?:it|they) (?:is|are)\b", "the name of the parameter; each"),
    Banned(r"\bas long as (?:a|an|the|it|they|this|there)\b", "until; while; if"),
    Banned(r"\banother one\b|\bthe one beside\b|\bis another(?=[.,;:)]|$)", "differs; a different one; adjacent"),
    Banned(r"(?i:\bjudge[sd]?\b|\bjudging\b)", "check; decide"),
    Banned(r"\bbelieve[sd]?\b|\btold apart\b|\btells? (?:\w+ ){1,3}apart\b", "trusted; distinguished"),
    Banned(r"\b(?:all|nothing|none) of it\b|\bthose that (?:it|they) ha(?:s|ve)\b", "the noun"),
    Banned(r"\bunless it is an?\b", "say it without the negation"),
)
IN_DOCSTRINGS = (
    Banned(r"(?:Give|Gives)\b", "Return …"),
    Banned(r"(?:Tell|Tells) whether\b", "Return whether …"),
    Banned(r"(?:Tell|Tells|Say|Says|Let|Lets|Take|Takes|Put|Puts)\b", "Report …; Return …; Allow …; Set …"),
)
"""Banned at the beginning of docstrings only."""
FOREIGN_NAME = re.compile(
    r"(?:^|_)(?:anew|another_one|believed|goes_on|in_vain|is_away|if_away|judged?|judging|may_go_on|rests|so_many|told_apart|under_way)"
    r"(?:_|$)"
)
"""In names of variables, functions, classes and parameters."""
COMMENT = re.compile(r"(?:^\s*|  )# (?!noqa)(.+)$")
CONTENT = frozenset({"What the simulator knows."})
"""Texts that the simulator sends as a model's content. They are not sentences of Wirekey."""


def sentences_of(path: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield (FILE:LINE, text, whether it is a docstring) of each docstring, comment and longer string."""
    source = path.read_text(encoding="utf-8")
    for number, line in enumerate(source.splitlines(), 1):
        if comment := COMMENT.search(line):
            yield f"{path.relative_to(CHECKOUT)}:{number}", comment[1], False
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\w \w+ \w", node.value):
            if node.value in CONTENT:
                continue
            place = f"{path.relative_to(CHECKOUT)}:{node.lineno}"
            yield place, " ".join(node.value.split()), id(node) in docstrings


def paragraphs_of(page: str) -> Iterator[str]:
    """Yield the paragraphs and table rows of a page, without headings, fenced blocks and code spans."""
    text = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^#.*$|<!--.*?-->", "", re.sub(r"`[^`\n]*`", "`…`", text), flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n|\n(?=\||- |\d+\. )", text):
        yield " ".join(paragraph.split())


def names_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (FILE:LINE, name) of each name in a file."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.NAME:
                yield f"{path.relative_to(CHECKOUT)}:{token.start[0]}", token.string


def show(found: list[tuple[str, str, str]]) -> str:
    return "\n".join(f"{place}: {match!r}: {text[:150]}" for place, match, text in found)


PAGES = page_names()


@functools.cache
def sentences() -> list[tuple[str, str, bool]]:
    """Return the sentences of all files, as `sentences_of` yields them."""
    return [sentence for path in sorted((CHECKOUT / "addons").rglob("*.py")) for sentence in sentences_of(path)]


@pytest.mark.parametrize("banned", BANNED, ids=lambda banned: banned.better)
def test_no_docstring_comment_or_message_has_a_banned_phrase(banned):
    found = [(place, match[0], text) for place, text, _ in sentences() if (match := re.search(banned.pattern, text))]
    assert not found, f"write {banned.better!r} instead:\n{show(found)}"


def test_no_name_has_a_foreign_word():
    files = sorted((CHECKOUT / "addons").rglob("*.py"))
    found = [f"{place}: {name}" for path in files for place, name in names_of(path) if FOREIGN_NAME.search(name)]
    assert not found, "use the word of the field:\n" + "\n".join(found)


@pytest.mark.parametrize("banned", IN_DOCSTRINGS, ids=lambda banned: banned.better)
def test_a_docstring_begins_with_the_word_of_the_field(banned):
    found = [
        (place, match[0], text)
        for place, text, is_docstring in sentences()
        if is_docstring and (match := re.match(banned.pattern, text))
    ]
    assert not found, f"write {banned.better!r} instead:\n{show(found)}"


@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_a_banned_phrase(page):
    found = [
        (page, match[0], text)
        for banned in BANNED
        for text in paragraphs_of(page)
        if (match := re.search(banned.pattern, text))
    ]
    assert not found, show(found)


def test_the_patterns_find_what_the_style_forbids():
    bad = [
        "Set the key and start anew.",
        "Who has no token gets nowhere.",
        "the header x is none",
        "Whoever uses it gives each program its own agent.",
        "one that is answered 401, 403 or 429 rests a while",
        "What becomes of a model asked for.",
        "Its tokens work no more.",
        "which rule spoke",
        "While the database is away, the copy stays.",
        "other workers go on.",
        "calls under way",
        "Count this process for so many seconds.",
        "however it is cut",
        "The file is another one.",
        "its audience is another",
        "before it is judged",
        "Reverse proxies whose header is believed.",
        "quotes nothing of it",
        "instead of those that it has",
        "its own, unless it is a custom one",
    ]
    assert not [text for text in bad if not any(re.search(banned.pattern, text) for banned in BANNED)]


def test_the_pattern_for_names_finds_what_the_style_forbids():
    bad = [
        "is_away",
        "refuse_if_away",
        "judged",
        "is_judged",
        "goes_on",
        "_may_go_on",
        "believed_by",
        "so_many_seconds",
    ]
    assert not [name for name in bad if not FOREIGN_NAME.search(name)]
    assert not [name for name in ("going_away", "adjudged", "rest", "GOING_AWAY") if FOREIGN_NAME.search(name)]
