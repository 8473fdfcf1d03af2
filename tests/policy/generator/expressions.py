"""Terms and conditions of generated policies, by their type: text, number, list (of texts), map, flag.

They are made of templates, in which `{text}` stands for any text, `{text0}` for one without calls, `{set}` for a
literal set, and so on; `{each}` is a new variable, and `{about}` a condition on it.
"""

import json
from dataclasses import dataclass, field

from tests.policy.generator.inputs import FLAGS, LISTS, MODELS, NUMBERS, PERMISSIONS, ROLES, TEXTS, TOOLS, TYPES

WORDS = [*MODELS, *ROLES, *TYPES, *TOOLS, *PERMISSIONS]
BEGINNINGS = ["gpt-", "gemini-", "gpt-4o", "claude", "eu.", "a", "", "search"]
ENDINGS = ["-mini", "-flash", "pro", "o", "", "proxy"]
PATTERNS = ["^gpt-4", "mini$", "^(gpt|gemini)-", "[0-9]+", "^$", "^[a-z-]+$", "o.m"]
GLOBS = ["gpt-*", "*-mini", "web.*", "*"]
PLAIN = {
    "word": WORDS,
    "beginning": BEGINNINGS,
    "ending": ENDINGS,
    "pattern": PATTERNS,
    "glob": GLOBS,
    "digits": ["1", "2.5", "100", "-3"],
    "field": ["model", "provider", "nothing", "agent_role", "tools", "stream"],
    "place": ["0", "1"],
    "input": list(TEXTS),
    "compared": ["<", ">", "<=", ">=", "==", "!="],
}
FIELDS_OF_TEXT = list(TEXTS)

TEXT = [
    *(
        "lower({text})",
        "trim_space({text})",
        'replace({text}, "-", "_")',
        "substring({text}, 0, {place})",
    ),
    *('trim_prefix({text}, "gpt-")', 'trim_suffix({text}, "-mini")', 'trim({text}, "-")', 'trim_left({text}, "g")'),
    *('concat("/", [{text}, {text}])', 'concat("", {set})', 'sprintf("%s.%v", [{text}, {text0}])'),
    *('sprintf("%v of %v", [{number0}, {text}])', 'sprintf("%d", [count({list0})])', 'split({text}, "-")[{place}]'),
    *('object.get(input, ["agent", "role"], {word})', 'object.get(input.headers, "user-agent", {text})'),
    *("object.get(input, {field}, {text})", "object.get({map}, {text}, {text})", "format_int(count({list0}), 10)"),
    *(
        "{{{word}: {text}, {word}: {text0}}}[{input}]",
        "[{text}, {text0}][{place}]",
    ),
    *(
        "type_name({text})",
        "strings.reverse({text0})",
        "max({set})",
        "min([{text0}, {word}])",
    ),
]
NUMBER = [
    *("count({list})", "count({text})", "{number} + {number0}", "{number} - {number0}", "{number} * {number0}"),
    *('indexof({text}, "-")', "max([{number0}, {number0}])", "abs({number0})", 'object.get(input, "max_tokens", 100)'),
    *("{map}[{input}]", "sum([{number0}, {number0}])", "count({{{each} | some {each} in {list}; {about}}})"),
    *("round({number0})", "to_number({digits})", "count({map})", "({number} + {number0}) * 2", "{number0} % 7"),
]
LIST = [
    *("{{{each} | some {each} in {list}; {about}}}", "[{each} | some {each} in {list}; {about}]"),
    *("{{{each} | {each} := {list}[_]; {about}}}", "{{lower({each}) | some {each} in {list}}}"),
    *("{{{each} | some {each} in {list}; not {each} in {list0}}}", "[{each} | {each} = {list}[_]; not {about}]"),
    *(
        "({set} | {set})",
        "({set} & {{{each} | some {each} in {list}}})",
        "({set} - {{{each} | some {each} in {list}}})",
    ),
    *('split({text0}, "-")', "object.keys({map})", "array.concat(input.tools, input.other_models)", "sort({set})"),
    *(
        'object.get(input, "tools", [])',
        'object.get(input, ["agent", "permissions"], {set})',
        "union({{{set}, {set}}})",
    ),
    *(
        "{{{each} | {map}[{each}]}}",
        "array.slice([{text0}, {word}], 0, {place})",
        "array.concat([{text}], [{text0}])",
        "{{{text}, {word}}}",
    ),
]
MAP = [
    "{{{each}: count({each}) | some {each} in {list}}}",
    "{{{each}: 1 | some {each} in {list}; {about}}}",
    "object.union({map}, {map})",
]
# No `p in [q, "word"]`: OPA 1.20.2 finds only constants in such an array if `p` is a parameter of a function.
CONDITION = {
    "{text} == {text}": 2,
    "{text} != {text}": 1,
    "{text} in {list}": 4,
    "{text} in {{{text0}, {text0}}}": 1,
    "{place}, {text} in input.tools": 1,
    "{number} {compared} {number}": 2,
    "startswith({text}, {beginning})": 3,
    "endswith({text}, {ending})": 2,
    "contains({text}, {ending})": 1,
    "regex.match({pattern}, {text})": 1,
    "glob.match({glob}, [], {text})": 1,
    "strings.any_prefix_match({text}, {set})": 1,
    "{flag}": 4,
    "{flag} == true": 1,
    "{flag} != {flag}": 1,
    "is_string({text})": 1,
    "is_null({text0})": 1,
    "{{{each} | some {each} in {list}}} == {set}": 1,
    "count({{{each} | some {each} in {list}; {about}}}) > 0": 1,
    "{map}[{input}]": 1,
    "{map}[{input}] == {number0}": 1,
    "object.get(input, {field}, false)": 1,
    "[{text}, {number0}] == [{text}, {number0}]": 1,
    '{{"m": {text}}} == {{"m": {text}}}': 1,
    "input[{field}]": 1,
    "input[{field}] == {text}": 1,
    "{set}[{input}]": 1,
    "{text} < {text}": 1,
}


def quoted(value):
    return json.dumps(value)


@dataclass(frozen=True)
class Name:
    """A rule or function that others may refer to. `takes`: types of the parameters of a function."""

    package: str
    name: str
    type: str
    takes: tuple[str, ...] | None = None


@dataclass
class Scope:
    """What an expression may refer to: names as this file writes them, and local variables, by type."""

    names: list[tuple[str, Name]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    def written(self, type_, *, function=False):
        """Return how names of a type are written here."""
        return [
            (text, name) for text, name in self.names if name.type == type_ and (name.takes is not None) is function
        ]

    def variables_of(self, type_):
        return [name for name, each in self.variables.items() if each == type_]


class Filling(dict):
    """What the fields of one template stand for, made when they are asked for."""

    def __init__(self, maker, scope, depth):
        super().__init__()
        self._maker, self._scope, self._depth = maker, scope, depth

    def __missing__(self, field):
        maker, random = self._maker, self._maker.random
        if field == "each":
            self["each"] = maker.fresh("e")
            return self["each"]
        if field == "about":
            return maker.condition(maker.with_variable(self._scope, self["each"]), 0)
        if field.rstrip("0") in ("text", "number", "list", "map", "flag"):
            return maker.term(field.rstrip("0"), self._scope, 0 if field.endswith("0") else max(0, self._depth - 1))
        if field == "set":
            return maker.literal_set()
        if field in ("place", "compared", "input"):
            return random.choice(PLAIN[field])
        return quoted(random.choice(PLAIN[field]))


class Expressions:
    """Makes terms and conditions. `depth` bounds how far calls are nested."""

    def __init__(self, random):
        self.random = random
        self._count = 0

    def fresh(self, beginning):
        """Return a variable that the rule at hand does not have yet; other rules may have it."""
        self._count += 1
        return f"{beginning}{self._count}"

    def forget_variables(self):
        self._count = 0

    def chance(self, share):
        return self.random.random() < share

    # Terms.

    def term(self, type_, scope, depth=2):
        return getattr(self, type_)(scope, depth)

    def filled(self, template, scope, depth):
        return template.format_map(Filling(self, scope, depth))

    def known(self, type_, scope, depth):
        """Return a variable, a rule or a call of a function of this type, or None."""
        options = [*scope.variables_of(type_) * 2, *(text for text, _ in scope.written(type_))]
        if depth:
            options += [(text, name) for text, name in scope.written(type_, function=True)]
        if not options:
            return None
        chosen = self.random.choice(options)
        if isinstance(chosen, str):
            return chosen
        text, name = chosen
        return f"{text}({', '.join(self.term(each, scope, depth - 1) for each in name.takes)})"

    def text(self, scope, depth=2):
        if self.chance(0.4) and (found := self.known("text", scope, depth)):
            return found
        if depth and self.chance(0.3):
            return self.filled(self.random.choice(TEXT), scope, depth)
        return self.random.choice(FIELDS_OF_TEXT) if self.chance(0.75) else quoted(self.random.choice(WORDS))

    def number(self, scope, depth=2):
        if self.chance(0.3) and (found := self.known("number", scope, depth)):
            return found
        if depth and self.chance(0.45):
            return self.filled(self.random.choice(NUMBER), scope, depth)
        return self.random.choice(NUMBERS) if self.chance(0.6) else str(self.random.choice([0, 1, 2, 3, 100, 1000]))

    def list(self, scope, depth=2):
        if self.chance(0.45) and (found := self.known("list", scope, depth)):
            return found
        if depth and self.chance(0.3):
            return self.filled(self.random.choice(LIST), scope, depth)
        if self.chance(0.5):
            return self.random.choice(list(LISTS))
        return self.literal_set() if self.chance(0.7) else f"[{', '.join(self.words(0, 4))}]"

    def map(self, scope, depth=2):
        if self.chance(0.6) and (found := self.known("map", scope, depth)):
            return found
        if depth and self.chance(0.3):
            return self.filled(self.random.choice(MAP), scope, depth)
        return f"{{{', '.join(f'{word}: {self.random.choice([0, 1, 2, 100])}' for word in self.words(1, 3))}}}"

    def flag(self, scope, depth=2):
        if self.chance(0.4) and (found := self.known("flag", scope, depth)):
            return found
        return self.random.choice(FLAGS)

    def words(self, least, most):
        pool = self.random.choice([MODELS, ROLES, TOOLS, PERMISSIONS, WORDS])
        return [quoted(word) for word in self.random.sample(pool, min(len(pool), self.random.randint(least, most)))]

    def literal_set(self):
        return f"{{{', '.join(self.words(1, 4))}}}"

    def with_variable(self, scope, name, type_="text"):
        return Scope(scope.names, scope.variables | {name: type_})

    # Conditions.

    def condition(self, scope, depth=2):
        """Return an expression that may be negated: no declaration, no `every`."""
        if self.chance(0.12):
            field = self.random.choice(FIELDS_OF_TEXT)
            return f"{field} {self.random.choice(['==', '==', '!='])} {quoted(self.random.choice(TEXTS[field]))}"
        (template,) = self.random.choices(list(CONDITION), list(CONDITION.values()))
        return self.filled(template, scope, depth)
