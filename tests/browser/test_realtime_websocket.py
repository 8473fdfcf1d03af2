"""OpenAI's SDK in a web page, which can set no header: the agent's token is in a subprotocol."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.conversation import HERE, install_node_packages
from tests.support.running import PATIENCE, PROVIDER_KEYS, wirekey_behind
from wirekey.core.call import new_call_id

PROGRAM = """async ([token, base]) => {
  const { default: OpenAI } = await import('/openai/index.mjs');
  const { OpenAIRealtimeWebSocket } = await import('/openai/realtime/websocket.mjs');
  const client = new OpenAI({ apiKey: token, baseURL: base, dangerouslyAllowBrowser: true });
  const session = new OpenAIRealtimeWebSocket({ model: 'gpt-realtime', dangerouslyAllowBrowser: true }, client);
  const heard = [];
  await new Promise((resolve, reject) => {
    session.on('error', reject);
    session.on('session.created', () => session.send({ type: 'response.create' }));
    session.on('response.output_text.delta', ({ delta }) => heard.push(delta));
    session.on('response.done', resolve);
  });
  session.close();
  return heard.join('');
}"""


class Files(SimpleHTTPRequestHandler):
    """Serves the packages, and an empty page."""

    def do_GET(self) -> None:
        if self.path.startswith("/openai/"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def origin():
    """The origin of a page that can load the SDK."""
    install_node_packages()
    handler = functools.partial(Files, directory=HERE / "node" / "node_modules")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_web_page_holds_a_session_with_a_token_in_the_subprotocol(tmp_path, simulator, origin, browser):
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    with wirekey_behind(tmp_path, simulator, listen=listen, gateway={"cors": [origin]}) as proxy:
        token, began = proxy.add_agent("alice"), new_call_id()
        # The SDK always uses TLS. Chromium does not trust Wirekey's CA here; programs of tests/clients check it.
        context = browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(PATIENCE * 1000)
        page = context.new_page()
        page.goto(origin)
        said = page.evaluate(PROGRAM, [token, f"https://{proxy.running.gateway}/v1"])
        context.close()
        assert said.startswith("Hello from the simulator")
        connection, response = proxy.finished_events(2, began)
    assert (connection["agent_id"], connection["operation"], connection["status"]) == ("alice", "realtime", 101)
    assert (response["parent_id"], response["outcome"]) == (connection["id"], "completed")
    arrived = [seen for seen in simulator.seen if seen.target.startswith("/v1/realtime")][-1]
    headers = {name.lower(): value for name, value in arrived.headers}
    assert headers[b"authorization"] == f"Bearer {PROVIDER_KEYS['openai']}".encode()
    assert headers[b"sec-websocket-protocol"] == b"realtime"
    assert token.encode() not in str(arrived.headers).encode()
