"""Evaluate policies with OPA's own engine. Run by the Python of the oracle's environment, which has `opa_bindings`.

Reads one JSON object a line: `modules` (name to source), `data`, `query` (such as `data.a.authz`) and `inputs`.
Writes one JSON object a line: `problem` (why OPA refuses the policy, or null) and `answers`, one for each input:
`{"value": …}` or `{"error": …}`.
"""

import json
import sys

from opa_bindings import OpaEngine, OpaError


def main():
    for line in sys.stdin.buffer:
        answer = answer_to(json.loads(line))
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def answer_to(asked):
    with OpaEngine() as engine:
        engine.print_handler = ignore
        try:
            for name, source in asked["modules"].items():
                engine.add_policy(name, source)
            engine.add_data(asked["data"])
        except OpaError as error:
            return {"problem": error.message, "answers": []}
        path = asked["query"].removeprefix("data.")
        answers = []
        # OPA compiles with the first evaluation, so a policy without inputs is evaluated once as well.
        for given in asked["inputs"] or [{}]:
            try:
                answers.append({"value": engine.eval_document(path, given)})
            except OpaError as error:
                if error.code != "eval_error":
                    return {"problem": error.message, "answers": []}
                answers.append({"error": error.message})
        return {"problem": None, "answers": answers[: len(asked["inputs"])]}


def ignore(message, location):
    """Drop what a policy prints."""


if __name__ == "__main__":
    main()
