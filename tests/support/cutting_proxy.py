"""A TCP proxy that ends or stops a connection at the n-th message of its clients."""

from __future__ import annotations

import contextlib
import socket
import threading

BEFORE, AFTER, HANG = "cut before", "cut after", "hang"
"""The message is dropped and the connection ends. It is passed on, and the connection ends with the reply, which is
dropped. It is dropped, and the connection stays open and silent.
"""
PATIENCE = 5.0
"""Seconds to wait for a reply that is dropped."""


class CuttingProxy:
    """Passes TCP connections of this machine on to a port. A message is a piece as it was received."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.counted = self.hit = 0
        """Messages, and how many of them met with a fault."""
        self._countdown, self._kind = 0, BEFORE
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, nth: int, kind: str = BEFORE) -> None:
        """Let the n-th message from now on meet with a fault. 0: none of them."""
        with self._lock:
            self._countdown, self._kind = nth, kind

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._requests, args=(client,), daemon=True).start()

    def _next_fault(self) -> str | None:
        with self._lock:
            self.counted += 1
            if self._countdown == 0:
                return None
            self._countdown -= 1
            if self._countdown:
                return None
            self.hit += 1
            return self._kind

    def _requests(self, client: socket.socket) -> None:
        dropping, dropped = threading.Event(), threading.Event()
        with client, socket.create_connection(("127.0.0.1", self.upstream)) as server, contextlib.suppress(OSError):
            threading.Thread(target=self._replies, args=(server, client, dropping, dropped), daemon=True).start()
            while message := client.recv(65536):
                fault = self._next_fault()
                if fault:
                    dropping.set()
                if fault == AFTER:
                    server.sendall(message)
                    dropped.wait(PATIENCE)
                if fault in (BEFORE, AFTER):
                    break
                if not dropping.is_set():
                    server.sendall(message)
            for end in (client, server):
                end.shutdown(socket.SHUT_RDWR)

    def _replies(self, server: socket.socket, client: socket.socket, dropping, dropped) -> None:
        with contextlib.suppress(OSError):
            while reply := server.recv(65536):
                if dropping.is_set():
                    dropped.set()
                else:
                    client.sendall(reply)
            client.shutdown(socket.SHUT_RDWR)
