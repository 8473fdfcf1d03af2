"""Dashboard and alert rules use only metrics and labels that Wirekey exports."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

DOCS = Path(__file__).parents[3] / "docs"
DASHBOARD = json.loads((DOCS / "grafana" / "wirekey.json").read_text(encoding="utf-8"))
ALERTS = YAML(typ="safe").load((DOCS / "alerts.yaml").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
EXPRESSIONS = {
    **{f"{panel['title']} {t['refId']}": t["expr"] for panel in PANELS for t in panel["targets"]},
    **{rule["alert"]: rule["expr"] for rule in RULES},
}
OF_PROMETHEUS = {"instance", "le"}
"""Labels that Prometheus adds, or that all buckets have."""
FUNCTIONS = {"sum", "count", "rate", "increase", "histogram_quantile", "absent", "vector", "time"}
OPERATORS = {"and", "or", "unless", "offset", "by", "without", "on", "ignoring"}
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
RANGE = re.compile(r"\[[^\]]*\]|\boffset \d+[smhd]")
MATCHERS = re.compile(r"([a-z_:][a-z0-9_:]*)\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
NAME = re.compile(r"\b[a-z_][a-z0-9_:]*\b")


def names_in(expression: str) -> tuple[dict[str, set[str]], set[str]]:
    """Return each metric with its matched labels, and the labels of the groupings."""
    bare = RANGE.sub("", STRING.sub('""', expression))
    grouped = {label for found in GROUPING.findall(bare) for label in NAME.findall(found)}
    bare = GROUPING.sub("", bare)
    matched: dict[str, set[str]] = {}
    for name, matchers in MATCHERS.findall(bare):
        matched.setdefault(name, set()).update(NAME.findall(matchers))
    for name in set(NAME.findall(MATCHERS.sub("", bare))) - FUNCTIONS - OPERATORS:
        matched.setdefault(name, set())
    return matched, grouped


@pytest.fixture(scope="module")
def live(served) -> dict[str, set[str]]:
    """Return the labels of each series, once every kind of event has occurred."""
    before = served.scrape().total("wirekey_calls_total")
    served.chat()
    served.chat("a-model-without-a-price")
    served.stream("openai-chat")
    served.chat(behaviour="fail=500")
    served.chat("forbidden-model")
    served.chat("translated", seed=1)
    served.session()
    return served.scrape_of(before + 8).labels


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_that_exist(where, live):
    matched, grouped = names_in(EXPRESSIONS[where])
    assert matched
    assert not matched.keys() - live.keys()
    for name, labels in matched.items():
        assert not labels - live[name] - OF_PROMETHEUS
    for name in matched:
        assert not grouped - live[name] - OF_PROMETHEUS


def test_a_wrong_name_is_found_in_an_expression():
    assert names_in('sum by (le, agent) (rate(wirekey_typo_total{instance=~"$i", x="a"}[5m])) > 4 * b offset 5m') == (
        {"wirekey_typo_total": {"instance", "x"}, "b": set()},
        {"le", "agent"},
    )


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_labels_its_lines_with_labels_that_it_groups_by(panel):
    for target in panel["targets"]:
        shown = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"]))
        _, grouped = names_in(target["expr"])
        aggregates = re.search(r"\b(sum|count|max)\b", target["expr"])
        assert shown <= (grouped if aggregates else OF_PROMETHEUS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_the_texts_of_a_rule_use_only_labels_that_it_has(rule, live):
    assert rule["labels"]["severity"] in ("warning", "critical")
    texts = rule["annotations"]
    matched, grouped = names_in(rule["expr"])
    has = grouped or set.intersection(*(live[name] for name in matched)) | {"instance"}
    for text in (texts["summary"], texts["description"]):
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= has


def test_every_wirekey_metric_is_on_the_dashboard(live):
    shown = {name for where in EXPRESSIONS.values() for name in names_in(where)[0]}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in live if not name.startswith("process_")}
    missing = families - {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert missing <= {"wirekey_build_info"}


def test_each_panel_has_its_own_position_and_id():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells
        assert at["x"] + at["w"] <= 24
        taken |= cells
