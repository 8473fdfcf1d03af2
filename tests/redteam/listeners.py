"""What stands at the places where no connection may be made, and at the provider: a trap, a resolver, and a liar."""

from __future__ import annotations

import base64
import ipaddress
import re
import selectors
import socket
import struct
import threading
from collections import Counter

PUBLIC = "93.184.216.34"
"""An address that leads to the trap, and that a tunnel may be opened to. Only in a network namespace."""
PRIVATE = (
    "10.9.9.9/32", "172.16.9.9/32", "192.168.9.9/32", "100.100.100.200/32", "169.254.169.254/32", "168.63.129.16/32",
    "192.0.0.192/32", "8.8.4.4/32", "fd00:ec2::254/128", "64:ff9b::7f00:1/128", "2002:7f00:1::1/128",
)  # fmt: skip
"""Addresses of this machine, as far as the namespace is concerned."""
PORTS = (1, 80, 443)


class Trap:
    """Accepts connections where nothing may be dialled, and counts them by the address that was dialled."""

    def __init__(self, *, everywhere: bool) -> None:
        self.dials: Counter[str] = Counter()
        self._selector = selectors.DefaultSelector()
        sockets = [socket.create_server(("127.0.0.1", 0))]
        if everywhere:
            sockets += [
                socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) for port in PORTS
            ]
        self.port = sockets[0].getsockname()[1]
        for each in sockets:
            self._selector.register(each, selectors.EVENT_READ)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            for key, _ in self._selector.select():
                connection, _ = key.fileobj.accept()
                self.dials[connection.getsockname()[0].removeprefix("::ffff:")] += 1
                connection.close()

    def forbidden(self) -> list[str]:
        """Return the addresses that were dialled and must not be."""
        return [address for address in self.dials if address != PUBLIC]


ANSWERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "public": ((PUBLIC,),),
    "loopback": (("127.0.0.1",),),
    "any": (("0.0.0.0",),),
    "private": (("10.9.9.9",),),
    "own": (("8.8.4.4",),),
    "metadata": (("169.254.169.254",),),
    "alibaba": (("100.100.100.200",),),
    "azure": (("168.63.129.16",),),
    "oracle": (("192.0.0.192",),),
    "amazon6": (("fd00:ec2::254",),),
    "loopback6": (("::1",),),
    "mapped": (("::ffff:127.0.0.1",),),
    "nat64": (("64:ff9b::7f00:1",),),
    "sixtofour": (("2002:7f00:1::1",),),
    "mixed": ((PUBLIC, "127.0.0.1"),),
    "mixed6": ((PUBLIC, "::1"),),
    "rebind": ((PUBLIC,), ("127.0.0.1",)),
    "rebind6": ((PUBLIC,), ("::1",)),
    "rebind-metadata": ((PUBLIC,), ("169.254.169.254",)),
    "rebind-late": ((PUBLIC,), (PUBLIC,), (PUBLIC,), ("10.9.9.9",)),
    "multicast": (("224.0.0.1",),),
    "broadcast": (("255.255.255.255",),),
    "linklocal6": (("fe80::1",),),
    "many": ((*(f"93.184.216.{number}" for number in range(1, 40)), "127.0.0.1"),),
    "nothing": ((),),
}
"""By the first label of a name: the addresses of its first answer, its second, and so on."""


class Resolver:
    """Answers questions about the names of `ANSWERS` at 127.0.0.1:53."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            question, client = self._socket.recvfrom(4096)
            self._socket.sendto(self.answer(question), client)

    def answer(self, question: bytes) -> bytes:
        """Return the response to a question. Both types of address of one name count as one question."""
        end = question.index(b"\0", 12)
        name = question[13 : 13 + question[12]].decode("latin-1").lower()
        (kind,) = struct.unpack_from("!H", question, end + 1)
        rounds = ANSWERS.get(name, ((),))
        turn = min(self.asked[f"{name} {kind}"], len(rounds) - 1)
        self.asked[f"{name} {kind}"] += 1
        wanted = {1: 4, 28: 6}.get(kind)
        found = [ipaddress.ip_address(each) for each in rounds[turn] if ipaddress.ip_address(each).version == wanted]
        records = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(each.packed)) + each.packed for each in found)
        return question[:2] + struct.pack("!HHHHH", 0x8180, 1, len(found), 0, 0) + question[12 : end + 5] + records


def lie(connection: socket.socket) -> None:
    """Respond with the bytes that the request has in X-Answer, in base64, and close."""
    request = b""
    while b"\r\n\r\n" not in request or not request.endswith(b"}"):
        if not (data := connection.recv(65536)):
            return
        request += data
    if found := re.search(rb"(?i)\r\nx-answer: ([A-Za-z0-9+/=]*)", request):
        connection.sendall(base64.b64decode(found[1]))
