"""A provider of WebSockets that costs little: python -m tests.benchmarks.realtime_upstream FOLDER

Writes FOLDER/ca.pem and prints its port. Each message is answered with the event of 20 ms of sound.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from wirekey_simulator.certificate import prepare_certificate

SOUND = "A" * 856
"""640 bytes in base64."""
EVENT = json.dumps(
    {
        "type": "response.output_audio.delta",
        "event_id": "event_1",
        "response_id": "resp_1",
        "item_id": "item_1",
        "output_index": 0,
        "content_index": 0,
        "delta": SOUND,
    }
)


async def respond(connection: ServerConnection) -> None:
    try:
        async for _ in connection:
            await connection.send(EVENT)
    except ConnectionClosed:
        return


async def run(folder: Path) -> None:
    server_file, root = prepare_certificate(folder)
    (folder / "ca.pem").write_bytes(root.read_bytes())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_file)
    async with serve(respond, "127.0.0.1", 0, ssl=context, compression=None, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
