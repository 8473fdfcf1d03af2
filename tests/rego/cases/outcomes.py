"""The outcome of each case. `python -m tests.rego.cases.outcomes` writes the lists again; compare them in git."""

import json
import re
import sys
from collections import defaultdict

from tests.rego.answers import answers_of, only_one_failed
from tests.rego.cases import FOLDER, Case, read_cases
from tests.rego.oracle import Answer, Answers, Oracle, oracle_python

LISTS = {
    "refused": "Cases that OPA decides and the embedded engine refuses to load: CASE => the first reason.",
    "loaded": "Cases that OPA refuses and the embedded engine decides: CASE => why OPA refuses it.",
    "differs": "Cases that the embedded engine decides otherwise than OPA. This list must become empty.",
}
_PLACE = re.compile(r"^\S+: ")
_CODE = re.compile(r"^.*?rego_[a-z_]+: ", re.DOTALL)


def outcome_of(case: Case, oracle: Oracle) -> tuple[str, str]:
    """Return `same`, or the list that the case belongs in, and the reason."""
    return outcome(case, oracle.ask(case.asked), answers_of(case.ours))


def outcome(case: Case, opa: Answers, ours: Answers) -> tuple[str, str]:
    assert (opa.problem is not None) is case.invalid, f"{case.name}: {opa.problem}"
    if opa.problem is not None:
        decides = ours.problem is None and any(answer.error is None for answer in ours.answers)
        return ("loaded", " ".join(_CODE.sub("", opa.problem).split())[:80]) if decides else ("same", "")
    if ours.problem is not None:
        return "refused", _PLACE.sub("", ours.problem.split("; ")[0])
    for given, theirs, mine in zip(case.asked.inputs, opa.answers, ours.answers, strict=True):
        if not only_one_failed(theirs, mine) and told(theirs) != told(mine):
            return "differs", f"input {json.dumps(given)}: OPA {told(theirs)}, Wirekey {told(mine)}"
    return "same", ""


def told(answer: Answer) -> str:
    return "an error" if answer.error is not None else canonical(answer.value)


def canonical(value: object) -> str:
    """Return JSON in which equal documents are equal texts: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return canonical(int(value))
    if isinstance(value, list):
        return f"[{','.join(map(canonical, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(key)}:{canonical(value[key])}' for key in sorted(value))}}}"
    return json.dumps(value)


def main() -> None:
    python = oracle_python()
    if python is None:
        sys.exit("The oracle is not installed. Run .ci/run.")
    rows = defaultdict(list)
    with Oracle(python) as oracle:
        for case in read_cases():
            found, reason = outcome_of(case, oracle)
            rows[found].append(f"{case.name} => {reason}")
    for name, about in LISTS.items():
        text = "\n".join([f"# {about}", *rows[name]])
        (FOLDER / f"{name}.txt").write_text(f"{text}\n")


if __name__ == "__main__":
    main()
