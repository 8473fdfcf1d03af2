"""Compares JSON with an expectation: an object is a subset, a list is exact, an object of `$` names is an operator."""

import json
import re

TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
ABSENT = object()


class MismatchError(AssertionError):
    """The value does not fit the expectation."""


def need(holds, place, expected, value):
    if not holds:
        found = "nothing" if value is ABSENT else json.dumps(value, default=str)[:400]
        raise MismatchError(f"{place}: expected {json.dumps(expected)}, found {found}")


def match(expected, value, place="$", bound=None):
    """Raise MismatchError unless the value fits. `bound` remembers the values of `$bind` and `$new`."""
    bound = {} if bound is None else bound
    if isinstance(expected, dict):
        if expected and all(name.startswith("$") for name in expected):
            for name, operand in expected.items():
                OPERATORS[name](operand, value, place, bound)
            return
        need(isinstance(value, dict), place, expected, value)
        for name, one in expected.items():
            match(one, value.get(name, ABSENT), f"{place}.{name}", bound)
    elif isinstance(expected, list):
        need(
            isinstance(value, list) and len(value) == len(expected),
            place,
            expected,
            value,
        )
        for index, one in enumerate(expected):
            match(one, value[index], f"{place}[{index}]", bound)
    else:
        need(value is not ABSENT, place, expected, None)
        same = value == expected and isinstance(value, bool) == isinstance(expected, bool)
        need(same, place, expected, value)


def match_exactly(expected, value, place="$", bound=None):
    """Raise MismatchError unless the value fits, and no object has a member that the expectation lacks."""
    bound = {} if bound is None else bound
    operator = isinstance(expected, dict) and expected and all(name.startswith("$") for name in expected)
    if isinstance(expected, dict) and not operator:
        need(isinstance(value, dict), place, expected, value)
        for name in value:
            need(name in expected, f"{place}.{name}", "nothing", value[name])
        for name, one in expected.items():
            match_exactly(one, value.get(name, ABSENT), f"{place}.{name}", bound)
    elif isinstance(expected, list):
        need(isinstance(value, list) and len(value) == len(expected), place, expected, value)
        for index, one in enumerate(expected):
            match_exactly(one, value[index], f"{place}[{index}]", bound)
    else:
        match(expected, value, place, bound)


def fits(expected, value, place, bound):
    attempt = dict(bound)
    try:
        match(expected, value, place, attempt)
    except MismatchError:
        return False
    bound.update(attempt)
    return True


def op_re(pattern, value, place, bound):
    need(
        isinstance(value, str) and re.search(pattern, value),
        place,
        {"$re": pattern},
        value,
    )


def op_type(kind, value, place, bound):
    right = isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
    need(right, place, {"$type": kind}, value)


def op_json(expected, value, place, bound):
    need(isinstance(value, str), place, {"$json": expected}, value)
    match(expected, json.loads(value), f"{place}(json)", bound)


def op_contains(expected, value, place, bound):
    if isinstance(value, str):
        for piece in expected if isinstance(expected, list) else [expected]:
            need(piece in value, place, {"$contains": expected}, value)
        return
    need(isinstance(value, list), place, {"$contains": expected}, value)
    left = iter(value)
    for one in expected:
        need(any(fits(one, found, place, bound) for found in left), place, {"$contains": expected}, value)


def op_lacks(expected, value, place, bound):
    for one in expected if isinstance(expected, list) else [expected]:
        holds = one in value if isinstance(value, str) else any(fits(one, found, place, bound) for found in value)
        need(not holds, place, {"$lacks": expected}, value)


def op_bind(name, value, place, bound):
    need(value is not ABSENT, place, {"$bind": name}, None)
    need(bound.setdefault(name, value) == value, place, {"$bind": name, "is": bound[name]}, value)


def op_new(name, value, place, bound):
    others = [found for other, found in bound.items() if other != name and other in bound.get("$new", ())]
    op_bind(name, value, place, bound)
    need(value not in others, place, {"$new": name}, value)
    bound["$new"] = {*bound.get("$new", ()), name}


def size(value):
    return len(value) if isinstance(value, str | list) else value


OPERATORS = {
    "$absent": lambda _, value, place, bound: need(value is ABSENT or value is None, place, "$absent", value),
    "$any": lambda _, value, place, bound: need(value is not ABSENT, place, "$any", None),
    "$null": lambda _, value, place, bound: need(value is None, place, "$null", value),
    "$empty": lambda _, value, place, bound: need(value is ABSENT or not value, place, "$empty", value),
    "$re": op_re,
    "$type": op_type,
    "$one_of": lambda options, value, place, bound: need(
        value in options, place, options, None if value is ABSENT else value
    ),
    "$exact": lambda exact, value, place, bound: need(value == exact, place, {"$exact": exact}, value),
    "$not": lambda other, value, place, bound: need(
        not fits(other, value, place, bound), place, {"$not": other}, value
    ),
    "$or": lambda options, value, place, bound: need(
        any(fits(one, value, place, bound) for one in options), place, {"$or": options}, value
    ),
    "$json": op_json,
    "$contains": op_contains,
    "$lacks": op_lacks,
    "$min": lambda least, value, place, bound: need(size(value) >= least, place, {"$min": least}, value),
    "$max": lambda most, value, place, bound: need(size(value) <= most, place, {"$max": most}, value),
    "$len": lambda length, value, place, bound: need(len(value) == length, place, {"$len": length}, value),
    "$bind": op_bind,
    "$new": op_new,
}
