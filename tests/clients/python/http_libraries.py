"""Calls with plain HTTP libraries, to OpenAI's API."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request

OPENAI = "gpt-4o-mini"


class HttpError(Exception):
    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(json.loads(body)["error"]["message"])
        self.status = status


class Raw:
    """A plain HTTP library that speaks to OpenAI's API."""

    @staticmethod
    def request(options, path="/chat/completions", **more):
        url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1") + path
        body = {"model": OPENAI, "messages": [{"role": "user", "content": options["text"]}], **more}
        headers = {
            "Content-Type": "application/json",
            "X-Mixed-CASE": "as written",
            "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
        }
        return url, json.dumps(body).encode(), headers

    def chat(self, options):
        return json.loads(b"".join(self.send(options)))["choices"]

    def stream(self, options):
        for part in self.send(options, stream=True):
            yield part.decode()

    def unknown(self, options):
        list(self.send(options, "/no/such/operation"))


class Requests(Raw):
    def send(self, options, *path, **more):
        import requests

        url, body, headers = self.request(options, *path, **more)
        with requests.post(url, data=body, headers=headers, stream=True) as answer:
            if answer.status_code != 200:
                raise HttpError(answer.status_code, answer.content)
            yield from answer.iter_lines()


class HttpxTwo(Raw):
    def send(self, options, *path, **more):
        import httpx

        url, body, headers = self.request(options, *path, **more)
        with httpx.Client(http2=True) as client, client.stream("POST", url, content=body, headers=headers) as answer:
            if answer.status_code != 200:
                raise HttpError(answer.status_code, answer.read())
            yield from answer.iter_bytes()


class Urllib(Raw):
    def send(self, options, *path, **more):
        url, body, headers = self.request(options, *path, **more)
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
                yield from answer
        except urllib.error.HTTPError as error:
            raise HttpError(error.code, error.read()) from None


CLIENTS = {"requests": Requests(), "httpx-http2": HttpxTwo(), "urllib": Urllib()}
