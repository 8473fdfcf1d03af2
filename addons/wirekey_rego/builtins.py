"""The builtin functions that policies may use, and the rewriting that makes each return what OPA's returns.

Each was compared with OPA over values of all kinds (tests/rego/test_builtins.py). One that differs gets a wrapper in
the generated package WRAPPERS, may be called with constants only, or is refused.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey_rego.patterns import PatternError, translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey_rego.syntax import Node

WRAPPERS = "wirekey__builtins"

REACHING_OUT = frozenset(["http.send", "net.lookup_ip_addr", "opa.runtime", "rego.parse_module"])
"""Builtins that reach outside the policy, into the network or the process."""

ARITIES = {
    **dict.fromkeys(["set", "time.now_ns"], 0),
    **dict.fromkeys(["abs", "ceil", "floor", "round", "count", "sum", "product", "max", "min", "sort"], 1),
    **dict.fromkeys(["is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string"], 1),
    **dict.fromkeys(["type_name", "to_number", "lower", "trim_space", "strings.reverse", "array.reverse"], 1),
    **dict.fromkeys(["base64.decode", "base64.encode", "base64url.encode", "hex.decode", "hex.encode"], 1),
    **dict.fromkeys(["object.keys", "object.union_n", "union", "intersection", "json.unmarshal"], 1),
    **dict.fromkeys(["time.clock", "time.date", "time.weekday", "time.parse_rfc3339_ns"], 1),
    **dict.fromkeys(["time.parse_duration_ns", "units.parse_bytes"], 1),
    **dict.fromkeys(["startswith", "endswith", "contains", "concat", "split", "format_int", "indexof"], 2),
    **dict.fromkeys(["trim", "trim_left", "trim_right", "trim_prefix", "trim_suffix", "sprintf"], 2),
    **dict.fromkeys(["strings.any_prefix_match", "strings.any_suffix_match", "strings.replace_n"], 2),
    **dict.fromkeys(["array.concat", "object.union", "object.remove", "object.filter", "json.filter"], 2),
    **dict.fromkeys(["json.remove", "regex.match", "net.cidr_contains", "numbers.range", "walk"], 2),
    **dict.fromkeys(["graph.reachable", "time.diff"], 2),
    **dict.fromkeys(["replace", "substring", "array.slice", "object.get", "glob.match"], 3),
}

WRAPPED = frozenset(["count", "lower", "to_number", "time.parse_rfc3339_ns", "regex.match"])
WRAPPING = r"""package wirekey__builtins

# Characters, of which the engine counts some twice.
as_count(x) := count(x) if not is_string(x)

as_count(x) := count(split(x, "")) if is_string(x)

# Two letters whose lower case depends on what is around them, or is two letters.
as_lower(x) := lower(replace(replace(x, "İ", "i"), "Σ", "\u03c3"))

as_to_number(x) := to_number(x) if not is_string(x)

as_to_number(x) := to_number(x) if {
	is_string(x)
	x == trim_space(x)
}

as_to_number(x) := to_number("-") if {
	is_string(x)
	x != trim_space(x)
}

as_time_parse_rfc3339_ns(x) := time.parse_rfc3339_ns(x) if regex.match(rfc3339, x)

as_time_parse_rfc3339_ns(x) := time.parse_rfc3339_ns("-") if not regex.match(rfc3339, x)

rfc3339 := `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`

# A computed pattern: of simple characters only, as others may match something else.
as_regex_match(p, x) := regex.match(p, x) if plain_pattern(p)

as_regex_match(p, x) := to_number("-") if not plain_pattern(p)

plain_pattern(p) if {
	regex.match(`^(\(\?i\))?([A-Za-z0-9_:/@ ,=*^$|()+?.-]|\[\^?[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*-?\]|\\[.+*?|/-])*$`, p)
	not regex.match(`[*+?][*+?]|[|^$(][*+?]`, trim_prefix(p, "(?i)"))
}

# The forms of an address range of version 4. Version 6 has other spellings of these addresses.
cidr4_contains(range, x) := net.cidr_contains(range, trim_prefix(lower(x), "::ffff:"))

cidr6_contains(range, x) := net.cidr_contains(range, x) if not startswith(lower(x), "::ffff:")

cidr6_contains(range, x) := false if startswith(lower(x), "::ffff:")

# An object with this number of keys.
sized(x, n) if {
	is_object(x)
	count(x) == n
}

# The verbs of sprintf, as Go prints them.
v(x) := x if is_string(x)

v(x) := "set()" if x == set()

v(x) := sprintf("%v", [x]) if {
	not is_string(x)
	not is_number(x)
	x != set()
}

v(x) := format_int(x, 10) if whole(x)

v(x) := sprintf("%v", [x]) if short(x)

# Go prints other numbers with exponents.
v(x) := to_number("-") if {
	is_number(x)
	not whole(x)
	not short(x)
}

whole(x) if {
	is_number(x)
	x == floor(x)
	abs(x) < 1000000000000000000
}

short(x) if {
	is_number(x)
	x != floor(x)
	abs(x) < 1000000
	abs(x) >= 0.0001
}

s(x) := v(x) if not is_number(x)

s(x) := concat("", ["%!s(", number(x), ")"]) if is_number(x)

d(x) := v(x) if {
	is_number(x)
	x == floor(x)
}

d(x) := concat("", ["%!d(", number(x), ")"]) if {
	is_number(x)
	x != floor(x)
}

d(x) := concat("", ["%!d(string=", v(x), ")"]) if not is_number(x)

q(x) := sprintf("%q", [v(x)]) if not is_number(x)

q(x) := to_number("-") if is_number(x)

number(x) := concat("", ["int64=", v(x)]) if x == floor(x)

number(x) := concat("", ["float64=", v(x)]) if x != floor(x)
"""

OTHER = "Use another function, or ask an OPA server (policy.opa_url)"
REFUSED = {
    **dict.fromkeys(["upper"], "Compare with lower instead"),
    **dict.fromkeys(["semver.compare", "semver.is_valid"], "Compare the parts that split gives"),
    **dict.fromkeys(
        ["json.is_valid", "base64.is_valid", "yaml.is_valid", "regex.is_valid", "net.cidr_is_valid"], OTHER
    ),
    **dict.fromkeys(["object.subset", "json.patch", "json.marshal", "json.match_schema", "json.verify_schema"], OTHER),
    **dict.fromkeys(["json.marshal_with_options", "yaml.marshal", "yaml.unmarshal", "glob.quote_meta"], OTHER),
    **dict.fromkeys(["regex.replace", "regex.split", "regex.find_n", "regex.template_match"], "Use regex.match"),
    **dict.fromkeys(["regex.find_all_string_submatch_n", "regex.globs_match"], "Use regex.match"),
    **dict.fromkeys(["strings.count", "indexof_n", "units.parse", "numbers.range_step"], OTHER),
    **dict.fromkeys(["time.add_date", "time.format", "time.parse_ns"], "Calculate with nanoseconds"),
    **dict.fromkeys(["urlquery.encode", "urlquery.decode", "urlquery.encode_object", "urlquery.decode_object"], OTHER),
    **dict.fromkeys(["bits.and", "bits.or", "bits.xor", "bits.negate", "bits.lsh", "bits.rsh"], OTHER),
    **dict.fromkeys(["base64url.decode", "base64url.encode_no_pad", "graph.reachable_paths", "trace"], OTHER),
    **dict.fromkeys(["uuid.parse", "uuid.rfc4122", "rand.intn", "net.cidr_expand"], OTHER),
}
"""Builtins of regorus whose results differ from OPA's → what a policy can use instead."""

_VERBS = re.compile(r"%(.?)", re.DOTALL)
_DURATION = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+|0")
_BYTES = re.compile(r"\d{1,9}(?:[kmgtKMGT]i?[bB]?)?", re.ASCII)
_GLOB = re.compile(r"(?:[A-Za-z0-9_.:/@ *?-]|\{[A-Za-z0-9_.-]+(?:,[A-Za-z0-9_.-]+)*\})*", re.ASCII)


class UnprovenError(Exception):
    """A call whose result may differ from OPA's. The message says why, and what to write instead."""


def arguments(name: str, params: list[Node], operand: Callable[[Node], str]) -> tuple[str, list[str]]:
    """Return the function to call and its arguments, such that the result is OPA's. Raises UnprovenError."""
    if name == "sprintf":
        return name, printed(params, operand)
    if name == "net.cidr_contains":
        version = ipaddress.ip_network(text_of(name, params[0], is_network), strict=False).version
        return f"data.{WRAPPERS}.cidr{version}_contains", [operand(each) for each in params]
    if name == "regex.match" and not {"String", "RawString"}.isdisjoint(params[0]):
        try:
            pattern = translated(text_of(name, params[0], None))
        except PatternError as error:
            raise UnprovenError(f"this pattern of regex.match {error}") from None
        return name, [quoted(pattern), operand(params[1])]
    check_constants(name, params)
    if name == "count" and not {"ArrayCompr", "SetCompr", "ObjectCompr"}.isdisjoint(params[0]):
        return name, [operand(params[0])]
    function = f"data.{WRAPPERS}.as_{name.replace('.', '_')}" if name in WRAPPED else name
    return function, [operand(each) for each in params]


def check_constants(name: str, params: list[Node]) -> None:
    """Check that arguments are constants if a function differs for some values. Raises UnprovenError."""
    if name in ("substring", "array.slice"):
        for each in params[1:]:
            if type(each.get("Number", {}).get("value")) is not int:
                raise UnprovenError(f"{name} requires literal whole numbers")
    elif name == "strings.replace_n":
        fields = params[0].get("Object", {}).get("fields", [])
        if len(fields) != 1:
            raise UnprovenError(f"{name} replaces in a different order. Use one pair in each call")
        text_of(name, fields[0][1], lambda text: text != "")
    elif name == "indexof":
        text_of(name, params[1], lambda text: text != "")
    elif name == "time.parse_duration_ns":
        text_of(name, params[0], lambda text: _DURATION.fullmatch(text) is not None)
    elif name == "units.parse_bytes":
        text_of(name, params[0], lambda text: _BYTES.fullmatch(text) is not None)
    elif name == "glob.match":
        text_of(name, params[0], lambda text: _GLOB.fullmatch(text) is not None and "***" not in text)


def printed(params: list[Node], operand: Callable[[Node], str]) -> list[str]:
    """Return the arguments of sprintf, each converted to a string as Go does. Raises UnprovenError."""
    text = text_of("sprintf", params[0], None)
    values = params[1].get("Array", {}).get("items")
    if values is None:
        raise UnprovenError("sprintf requires a literal array of values: [input.model]")
    verbs = [verb for verb in _VERBS.findall(text) if verb != "%"]
    if unknown := sorted({*verbs} - {*"svdq"}):
        raise UnprovenError(f"sprintf with %{unknown[0]} may print something different. Use %s, %v, %d or %q")
    if len(verbs) != len(values):
        raise UnprovenError(f"sprintf has {len(verbs)} verbs for {len(values)} values")
    made = [f"data.{WRAPPERS}.{verb}({operand(value)})" for verb, value in zip(verbs, values, strict=True)]
    return [quoted(_VERBS.sub(lambda found: "%%" if found[1] == "%" else "%v", text)), f"[{', '.join(made)}]"]


def text_of(name: str, node: Node, fits: Callable[[str], bool] | None) -> str:
    """Return a literal string. Raises UnprovenError if it is not one, or does not fit."""
    found: Any = node.get("String") or node.get("RawString")
    if found is None:
        raise UnprovenError(f"{name} requires a literal string. Write one call for each string")
    text = str(found["value"])
    if fits is not None and not fits(text):
        raise UnprovenError(f"{name} may give a different result for this string. Use a simpler one")
    return text


def quoted(text: str) -> str:
    """Return a string as a Rego literal."""
    return msgspec.json.encode(text).decode()


def is_network(text: str) -> bool:
    """Return whether a string is an address range."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text
