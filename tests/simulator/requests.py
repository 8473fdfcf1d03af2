"""Requests as the wire layer passes them."""

import hashlib
import json

from wirekey_simulator.exchange import SimulatedRequest


def request(method, target, body=None, headers=None, authority="localhost"):
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return SimulatedRequest(
        method=method,
        authority=authority,
        target=target,
        headers=tuple((k.encode(), v.encode()) for k, v in (headers or {}).items()),
        body=data,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        protocol="h1",
        tls=True,
    )
