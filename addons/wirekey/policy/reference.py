"""The page about a policy's input, made from its field table: python -m wirekey.policy.reference > FILE."""

from __future__ import annotations

import sys

from wirekey.policy.input import FIELDS, HEADERS, LARGEST_INPUT, MOST_TOOLS

TOP = f"""\
# What a policy sees, and what it answers

<!-- Made by `python -m wirekey.policy.reference` from the field table; change that. -->

`input` has names and counts, never content: no prompt, no answer, no query, no key. What is unknown is absent, not
null: `not input.model` says that no model is named. A call about which a policy would see more than
{LARGEST_INPUT} bytes or {MOST_TOOLS} tools is denied unasked.

| `input.` | type | what it is |
|---|---|---|
"""
BOTTOM = """
Headers: {headers}.

## What it answers

The package that `policy.query` names (by default `data.wirekey.authz`) is asked once for each call. Of its rules these
speak; all others are its own affair.

| rule | value | what it does |
|---|---|---|
| `deny` | a set of texts (`deny contains "reason" if …`) or a boolean (`deny if …`) | denies: 403 with all reasons |
| `allow` | boolean | where there is such a rule, it must be true; where there is none, what is not denied is allowed |
| `model` | text | this model is used instead of the one asked for |
| `max_tokens` | number | the request's limit of output tokens is lowered to it, or set |

A package that is undefined, an error, another type, or no answer within `policy.timeout` denies: 503; the log has the
reason. Values that do not stand in this table are no decision.

Modules are Rego v1, or v0 where they do not compile as v1; data is in `data.json`, `data.yaml` or `data.yml`; both as
`opa test` and `opa build` take them. `*_test.rego` is not served. `http.send`, `net.lookup_ip_addr`, `opa.runtime` and
functions that call themselves are refused. The revision in the audit event is a hash of the files.
Policies without loops are judged within the process, others by processes of their own that are killed after
`policy.timeout`.
"""


def page() -> str:
    rows = "".join(f"| `{field.name}` | {field.type} | {field.description} |\n" for field in FIELDS)
    return TOP + rows + BOTTOM.format(headers=", ".join(f"`{name}`" for name in HEADERS))


if __name__ == "__main__":
    sys.stdout.write(page())
