"""Reading all that mitmweb's API has to say, over and over, while calls run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

PAGES = ("/options", "/state", "/commands", "/events", "/flows")
DETAILS = ("request/content.data", "request/content/auto", "response/content.data", "response/content/auto")


class CallObserver:
    """Polls from its making to `stop`; `said` is each different thing that was answered."""

    def __init__(self, url: str, token: str) -> None:
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        self.socket = url.replace("http://", "ws://") + "/updates"
        self.token = token
        self.said: set[str] = set()
        self.rounds = 0
        self.running_flows: set[str] = set()
        """Ids of flows that were seen with a request and, not yet ended, with or without an answer."""
        self.error: BaseException | None = None
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.keep(loop), daemon=True) for loop in (self.poll, self.listen)]
        for thread in self.threads:
            thread.start()

    def keep(self, loop):
        def run():
            try:
                loop()
            except BaseException as error:
                self.error = error

        return run

    def poll(self) -> None:
        looked_at: dict[str, str] = {}
        while not self.ended.is_set():
            for page in PAGES:
                answer = self.client.get(page)
                assert answer.status_code == 200, (page, answer)
                if page != "/flows":
                    self.said.add(answer.text)
            for flow in answer.json():
                text = json.dumps(flow)
                self.said.add(text)
                if (flow.get("response") or {}).get("timestamp_end") is None and not flow.get("error"):
                    self.running_flows.add(flow["id"])
                if looked_at.get(flow["id"]) != text:
                    looked_at[flow["id"]] = text
                    self.look_at(flow["id"])
            self.rounds += 1

    def look_at(self, flow_id: str) -> None:
        for detail in DETAILS:
            answer = self.client.get(f"/flows/{flow_id}/{detail}")
            self.said.add(answer.text + str(answer.headers))

    def listen(self) -> None:
        """Hear what the page is told of each change."""

        async def hear() -> None:
            request = HTTPRequest(self.socket, headers={"Authorization": f"Bearer {self.token}"})
            connection = await websocket_connect(request)
            while not self.ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        message = await connection.read_message()
                        if message is None:
                            return
                        self.said.add(message if isinstance(message, str) else message.decode("utf-8", "replace"))
            connection.close()

        asyncio.run(hear())

    def dump(self) -> bytes:
        return self.client.get("/flows/dump").content

    def stop(self) -> list[str]:
        self.ended.set()
        for thread in self.threads:
            thread.join(30)
        if self.error:
            raise self.error
        return sorted(self.said)
