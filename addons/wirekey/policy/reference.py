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
`opa test` and `opa build` take them. `*_test.rego` takes no part in decisions: its tests run when the policy is loaded,
and a policy whose test fails is not used. `http.send`, `net.lookup_ip_addr`, `opa.runtime` and functions that call
themselves are refused. The revision in the audit event is a hash of the files.
Policies without loops are judged within the process, others by processes of their own that are killed after
`policy.timeout` of processor time, or `policy.wall_timeout` by the clock.

## What the built-in engine refuses

The built-in engine decides as OPA does, with strict errors of builtins: an error is no decision, and denies. What it
cannot decide so, it refuses at load, with file, line and column. An OPA server (`policy.opa_url`) takes all of it.

| refused | write instead |
|---|---|
| `upper`, `regex.replace`, `regex.split`, `semver.*`, `bits.*` | compare with `lower`, use `regex.match` |
| `json.marshal`, `json.patch`, `object.subset`, `yaml.*`, `urlquery.*` | another function |
| `time.format`, `time.add_date`, `time.parse_ns` | calculate with nanoseconds |
| `regex.match` with escapes such as `\\pL` | the characters |
| `sprintf` with verbs other than `%s`, `%v`, `%d`, `%q` | one of these |
| `sprintf`, `indexof`, `glob.match`, `net.cidr_contains` with a computed pattern or format | one call for each text |
| division by a computed number, fractions such as `0.3` in a calculation | a multiplication, whole numbers |
| a package as a whole, or by a computed name: `data.lists[input.provider]` | the rules' names; an object in one rule |
| `with` over functions and packages | `with` over `input`, data and rules |
| names of several parts: `limits.intern.tokens := 1` | an object, or one name |
| `import future.keywords.not`, and `import future.keywords` beside a `not` | `import future.keywords.in` and such |
| an object with variables as the key of a look-up: `s[{{"k": x}}]` | `some e in s`, then `{{"k": x}} = e` |
| `<`, `<=`, `>`, `>=` of sets and objects; a set, `sort`, `min` or `max` of both | compare what is in them |
| `strings.replace_n` with several pairs, or computed ones | one call for each |
| `units.parse_bytes` of a computed text, or of a fraction such as `"1.5K"` | the number |
| a variable that only a negation mentions: `not input.tools[_] == "x"` | `every t in input.tools {{ t != "x" }}` |

One difference remains, as it shows only while a policy is evaluated: where one collection has both sets and objects, or
a computed set is compared with a computed object by `<`, OPA puts objects first, the built-in engine sets. A call has
no sets, so only a policy that makes such collections itself can meet it.
"""


def page() -> str:
    rows = "".join(f"| `{field.name}` | {field.type} | {field.description} |\n" for field in FIELDS)
    return TOP + rows + BOTTOM.format(headers=", ".join(f"`{name}`" for name in HEADERS))


if __name__ == "__main__":
    sys.stdout.write(page())
