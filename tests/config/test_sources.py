from __future__ import annotations

import pytest

from wirekey.config.sources import ConfigSources

LINES = {"routes": 3, "routes[0]": 4, "routes[0].match": 5, "agents": 9}


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("routes[0].match", 5),
        ("routes[0].nothing", 4),
        ("routes[1].match", 3),
        ("routes[].match[2]", 3),
        ("agents.store", 9),
        ("agents.st[ore", 9),
        ("agents.[[", 9),
        ("agents[.]\n", 9),
        ("nothing", None),
        ("no[thing", None),
        ("\n", None),
        ("[", None),
        ("..", None),
        ("", None),
    ],
)
def test_the_line_is_that_of_the_setting_or_of_the_nearest_group_around_it(key, line):
    assert ConfigSources(lines=LINES).line(key) == line
