"""`.env` in the forms that shells and other tools write."""

from pathlib import Path

import pytest

from tests.support.configuration import LITERAL_KEY
from wirekey.config.dotenv import parse_dotenv

TABLE = [
    ("A=1", {"A": "1"}),
    ("A=1\nB=2\n", {"A": "1", "B": "2"}),
    ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ("A=1\n\n# no\n  # no\nB=2", {"A": "1", "B": "2"}),
    ("export A=1", {"A": "1"}),
    ("  A = 1  ", {"A": "1"}),
    ("A=", {"A": ""}),
    ("A=\nB=2", {"A": "", "B": "2"}),
    ("A= # nothing", {"A": ""}),
    ("A=1 # note", {"A": "1"}),
    ("A=a#b", {"A": "a#b"}),
    ("A=a b", {"A": "a b"}),
    ("A=a=b==", {"A": "a=b=="}),
    ("A='1 # 2'", {"A": "1 # 2"}),
    ("A='1' # note", {"A": "1"}),
    ('A="1"', {"A": "1"}),
    (r'A="a\"b\\c\nd"', {"A": 'a"b\\c\nd'}),
    (r"A='a\nb'", {"A": r"a\nb"}),
    ('A="a\nb"\nB=2', {"A": "a\nb", "B": "2"}),
    ("A=$B", {"A": "$B"}),
    ("A=1\nA=2", {"A": "2"}),
    ("", {}),
    ("\n\n", {}),
]


@pytest.mark.parametrize(("text", "entries"), TABLE)
def test_entries_are_read_as_shells_do(text, entries):
    assert parse_dotenv(text, Path(".env")) == (entries, [])


@pytest.mark.parametrize(
    ("text", "line", "entries"),
    [
        ("A=1\nB: 2\nC=3", 2, {"A": "1", "C": "3"}),
        ("A", 1, {}),
        ("1A=1", 1, {}),
        ("A-B=1", 1, {}),
        ("=1", 1, {}),
        ("A='1\nB=2", 1, {"B": "2"}),
        ("A='1' 2", 1, {}),
        (LITERAL_KEY, 1, {}),
        (f'A="{LITERAL_KEY}', 1, {}),
    ],
)
def test_an_invalid_line_is_reported_without_its_text(text, line, entries):
    read, [problem] = parse_dotenv(text, Path(".env"))
    assert read == entries
    assert problem.line == line
    assert LITERAL_KEY not in str(problem)
