"""Engines of the library are freed by the thread that made them."""

import os
import subprocess
import sys

FREEING = """
import gc, threading
import wirekey_rego
from wirekey_rego import library

def policy():
    return wirekey_rego.compile({"a.rego": "package p\\ndeny := true if input.x"}, "data.p", ["deny"])

def in_a_cycle():
    held = [policy()]
    held.append(held)
    try:
        held[0].evaluate(b"no JSON")
    except Exception as error:
        held.append(error)

gc.disable()
in_a_cycle()
gone = []
collecting = threading.Thread(target=lambda: gone.append(gc.collect()))
collecting.start()
collecting.join()
assert gone[0] > 0
assert len(library._ended) >= 1, library._ended
left = policy()
assert not library._ended & library._table.engines.keys()
in_a_thread = threading.Thread(target=lambda: gone.append(policy().evaluate(b"{}")))
in_a_thread.start()
in_a_thread.join()
assert gone[1] == {}
lent = threading.Thread(target=lambda: gone.append(left))
lent.start()
lent.join()
"""


def test_an_engine_is_freed_by_its_own_thread():
    environment = os.environ | {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", FREEING], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
