"""Taking a key, or an AWS session token, out of what a provider says that quotes it: same length, for the framing."""

from __future__ import annotations

from dataclasses import dataclass, field

MASK = b"*"


def scrub(data: bytes, key: bytes) -> bytes:
    return data.replace(key, MASK * len(key)) if key in data else data


@dataclass(slots=True)
class KeyScrubber:
    """Masks `key` in a stream whatever the cut; holds back at most `len(key) - 1` bytes, only if they begin it.

    `sign` is what a provider says where it refuses the key itself, b"" for none; `sign_seen` whether it did.
    """

    key: bytes = field(repr=False)
    sign: bytes = b""
    sign_seen: bool = False
    held: bytes = field(default=b"", repr=False)
    recent: bytes = field(default=b"", repr=False)

    def feed(self, data: bytes) -> list[bytes]:
        data = scrub(self.held + data, self.key)
        end = self.beginning(data)
        out, self.held = data[:end], data[end:]
        self.look_for_sign(out)
        return [out] if out else []

    def end(self) -> list[bytes]:
        rest, self.held = self.held, b""
        return [rest] if rest else []

    def beginning(self, data: bytes) -> int:
        """Say where the key may begin whose rest is still to come; the length of `data` where it does not."""
        first = self.key[:1]
        at = data.find(first, max(0, len(data) - len(self.key) + 1))
        while at >= 0 and not self.key.startswith(data[at:]):
            at = data.find(first, at + 1)
        return len(data) if at < 0 else at

    def look_for_sign(self, data: bytes) -> None:
        if self.sign and not self.sign_seen:
            searched = self.recent + data
            self.sign_seen = self.sign in searched
            self.recent = (
                searched[len(searched) - len(self.sign) + 1 :] if len(searched) >= len(self.sign) else searched
            )
