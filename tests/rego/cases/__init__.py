"""Cases for each feature of the policy language, as data files that a person can add a row to.

A case is a policy (`policy`, or `files` by name), `data`, `inputs`, and the `query` (`data.p` by default): a package
of which all rules, or those of `names`, are asked for. With `expressions` instead of a policy, each one is a policy of
its own: `x := EXPRESSION`; with `conditions`, each one is added to the policy: `allow if { CONDITION }`. OPA decides
what is right, so no result stands here. `invalid: true`: OPA refuses the policy. `v0`: the same files in the language
before 1.0, which OPA 1 does not read; the embedded engine gets these.

`refused.txt` lists the cases that OPA decides and the embedded engine refuses to load, `loaded.txt` those that OPA
refuses and the embedded engine decides, `differs.txt` those that the engines decide differently.
`python -m tests.rego.cases.outcomes` writes these lists.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from tests.rego.oracle import Asked

_RULE = re.compile(r"^(?:default +)?([A-Za-z]\w*)(?![\w(.])(?!\[[^\]]*\]\()", re.MULTILINE)
_KEYWORDS = {"package", "import", "default", "else"}
FOLDER = Path(__file__).parent
KEYS = {"case", "policy", "files", "expressions", "conditions", "data", "inputs", "query", "names", "invalid", "v0"}


@dataclass(frozen=True)
class Case:
    """One policy, for OPA and for the embedded engine. `name`: feature, case, and expression if there are several."""

    name: str
    asked: Asked
    ours: Asked
    invalid: bool


def read_cases() -> list[Case]:
    """Return the cases of all files."""
    found = []
    for file in sorted(FOLDER.glob("*.yaml")):
        for row in YAML(typ="safe").load(file.read_text()):
            found += cases_of(file.stem, row)
    return found


def cases_of(feature, row) -> list[Case]:
    assert row.keys() <= KEYS, row
    if "expressions" in row:
        policies = {f": {text}": {"a.rego": f"package p\n\nx := {text}\n"} for text in row["expressions"]}
    elif "conditions" in row:
        rule = "{}\nallow if {{ {} }}\n"
        policies = {f": {text}": {"a.rego": rule.format(row["policy"], text)} for text in row["conditions"]}
    elif "files" in row:
        policies = {"": row["files"]}
    else:
        policies = {"": {"a.rego": row["policy"]}}
    found = []
    for name, rego in policies.items():
        query = row.get("query", "data.p")
        rest = (query, row.get("inputs", [{}]), row.get("data", {}))
        names = tuple(row.get("names", rules_of(rego, query)))
        asked, ours = Asked(rego, *rest, names), Asked(row.get("v0", rego), *rest, names)
        found.append(Case(f"{feature}: {row['case']}{name}", asked, ours, row.get("invalid", False)))
    return found


def rules_of(rego, query) -> tuple[str, ...]:
    """Return the names of the rules of a package that are no functions."""
    package = f"package {query.removeprefix('data.')}"
    texts = [text for text in rego.values() if package in map(str.strip, text.splitlines())]
    return tuple(sorted({name for text in texts for name in _RULE.findall(text)} - _KEYWORDS))


def listed(file) -> dict[str, str]:
    """Return the cases that a file lists, and what it says of each."""
    rows = [line.split(" => ", 1) for line in (FOLDER / file).read_text().splitlines() if not line.startswith("#")]
    return {name: reason for name, reason in rows}  # noqa: C416  # unpacking checks each row
