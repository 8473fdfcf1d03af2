"""A stand-in for an OPA server: its Data API and its list of policies, strict about what it is asked.

It keeps connections, and counts them. Faults are bytes sent instead of an answer.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import regorus

from tests.rego.oracle import Asked
from tests.support.policies import WHOLE
from wirekey.core.policy.decision import UndecidedError
from wirekey.core.policy.modules import Modules
from wirekey.core.policy.rego import Rego

FIELDS = {*WHOLE, "agent"}


class Opa(ThreadingHTTPServer):
    """Serves policies: name → source. `faults`: what the next requests get instead.

    With an oracle, OPA's own engine evaluates them; without one, the embedded engine does.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, policies, *, lists_policies=True, provenance=None, oracle=None):
        self.policies, self.lists_policies, self.provenance = policies, lists_policies, provenance
        self.oracle = oracle
        self.faults = []
        self.asked = []
        self.connections = 0
        self.release = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def document(self, package, given):
        """The document of a package; None where there is no such package or it is undefined."""
        if self.oracle is not None:
            (answer,) = self.oracle.ask(Asked(self.policies, package, [given])).answers
            return answer.value
        try:
            return json.loads(Rego(Modules(self.policies, {}, ""), package).evaluate(msgspec.json.encode(given)))
        except UndecidedError:
            return None

    def listed(self):
        """The policies as OPA lists them, with its own syntax tree."""
        found = []
        for name, source in self.policies.items():
            engine = regorus.Engine()
            engine.add_policy(name, source)
            (module,) = json.loads(engine.get_ast_as_json())
            (package,) = engine.get_packages()
            path = [{"type": "var" if part == "data" else "string", "value": part} for part in package.split(".")]
            rules = []
            for entry in module["ast"]["rules"]:
                ((kind, rule),) = entry.items()
                head = rule if kind == "Default" else next(iter(rule["head"].values()))
                rule_name = head["refr"]["Var"]["value"]
                rules.append({"head": {"name": rule_name, "ref": [{"type": "var", "value": rule_name}]}, "body": []})
            found.append({"id": name, "raw": source, "ast": {"package": {"path": path}, "rules": rules}})
        return found

    def stop(self):
        self.release.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.connections += 1

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(self.path)
        if self.server.faults:
            self.fail(self.server.faults.pop(0))
            return
        path, _, query = self.path.partition("?")
        given = json.loads(body)
        problems = [
            self.headers["content-type"] != "application/json",
            not path.startswith("/v1/data/"),
            query not in ("", "provenance=true"),
            list(given) != ["input"],
            not set(given["input"]) <= FIELDS,
            None in given["input"].values(),
        ]
        if any(problems):
            self.send(400, {"code": "invalid_parameter", "message": f"problems {problems}"})
            return
        package = path.removeprefix("/v1/").replace("/", ".")
        known = {f"data.{source.split()[1]}" for source in self.server.policies.values()}
        document = self.server.document(package, given["input"]) if package in known else None
        answer = {"decision_id": "1"} | ({} if document is None else {"result": document})
        if query:
            answer["provenance"] = self.server.provenance or {"version": "1.10.0"}
        self.send(200, answer)

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path != "/v1/policies" or not self.server.lists_policies:
            self.send(403, {"code": "unauthorized"})
            return
        self.send(200, {"result": self.server.listed()})

    def send(self, status, answer):
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def fail(self, fault):
        """Send these bytes and hang up; None: say nothing until the server stops."""
        if fault is None:
            self.server.release.wait()
        else:
            self.wfile.write(fault)
        self.close_connection = True
