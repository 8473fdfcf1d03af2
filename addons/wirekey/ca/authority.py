"""The folder of the CA: made once, read at each start, renewed on demand.

`mitmproxy-ca.pem` (the working CA's key, the working CA, the root) is the CA; every other file follows from it and is
written again where it is missing or differs. It is therefore written last when a CA is made, and first when one is
renewed: whenever the process dies, the next start finds a whole CA.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from wirekey.ca.certificates import make_certificates, permits_gateway, permitted_hosts, read_certificates
from wirekey.ca.roots import bundle, root_files, truststore
from wirekey.errors import UserError
from wirekey.identity import private_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from cryptography import x509

KEY_FILE = "mitmproxy-ca.pem"
ROOT_FILE = "mitmproxy-ca-cert.pem"
BUNDLE_FILE = "bundle.pem"
TRUSTSTORE_FILE = "truststore.p12"
LOCK_FILE = ".lock"
RENEW = "make a new one with `wirekey ca renew` and let the clients trust its root"


class CAError(UserError):
    """The CA cannot be used. Its text names the file, says what is wrong and what to do."""

    def __init__(self, file: Path, problem: str, fix: str) -> None:
        super().__init__(f"{file}: {problem}; {fix}")
        self.file, self.problem, self.fix = file, problem, fix


@dataclass(frozen=True, slots=True)
class Authority:
    """One CA as its folder has it. `hosts` are the names that it may speak for, with their subdomains."""

    folder: Path
    working: x509.Certificate
    root: x509.Certificate

    @property
    def hosts(self) -> tuple[str, ...]:
        return permitted_hosts(self.working)

    @property
    def covers_gateway(self) -> bool:
        """Whether it may speak for the gateway, where programs of this machine call that one."""
        return permits_gateway(self.working)

    @property
    def expires(self) -> datetime:
        return min(self.working.not_valid_after_utc, self.root.not_valid_after_utc)

    @property
    def begins(self) -> datetime:
        return max(self.working.not_valid_before_utc, self.root.not_valid_before_utc)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root, as browsers and openssl show it (AB:CD:…)."""
        return self.root.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def key_file(self) -> Path:
        return self.folder / KEY_FILE

    @property
    def root_file(self) -> Path:
        return self.folder / ROOT_FILE

    @property
    def bundle_file(self) -> Path:
        return self.folder / BUNDLE_FILE

    @property
    def truststore_file(self) -> Path:
        return self.folder / TRUSTSTORE_FILE

    def covers(self, hosts: Iterable[str]) -> list[str]:
        """Return those of `hosts` that this CA may not speak for; empty when it covers them all."""
        permitted = self.hosts
        return [
            host
            for host in hosts
            if not any(host.lower() == name or host.lower().endswith(f".{name}") for name in permitted)
        ]


def ensure(folder: Path, hosts: Collection[str], roots: Iterable[Path] | None = None) -> Authority:
    """Return the CA of `folder`; make one for `hosts` where there is none.

    `roots` are the PEM files that the bundle takes in; default: those this machine trusts. A CA that is there stays
    as it is, even if it does not cover all of `hosts`: ask `covers`. A folder that can only be read, as one mounted
    into a container, is taken as it was prepared. Raises CAError.
    """
    try:
        with _locked(folder):
            if not (folder / KEY_FILE).exists():
                _make(folder, hosts)
            authority = load(folder)
            _write_public(authority, roots)
            return authority
    except CAError as error:
        if not (_only_reading_is_allowed(error) and (folder / KEY_FILE).exists()):
            raise
    return _as_prepared(folder)


def renew(folder: Path, hosts: Collection[str], roots: Iterable[Path] | None = None) -> Authority:
    """Make a new CA for `hosts`; the former one, whatever its state, stays beside it as `.previous`. Raises CAError."""
    with _locked(folder):
        for name in (ROOT_FILE, KEY_FILE):
            with contextlib.suppress(FileNotFoundError):
                _write(folder / f"{name}.previous", (folder / name).read_bytes(), 0o600)
        _make(folder, hosts)
        authority = load(folder)
        _write_public(authority, roots)
        return authority


def load(folder: Path, now: datetime | None = None) -> Authority:
    """Read the CA of `folder` and check that it can be used at `now`. Raises CAError; changes nothing."""
    file = folder / KEY_FILE
    _check_owner_only(file)
    try:
        working, root = read_certificates(private_file.read(file.resolve()))
    except OSError as error:
        raise CAError(file, _reason(error), "let the user that runs Wirekey read it") from error
    except ValueError as error:
        raise CAError(file, str(error), RENEW) from error
    authority = Authority(folder, working, root)
    now = now or datetime.now(UTC)
    if now >= authority.expires:
        raise CAError(file, f"the CA expired on {authority.expires:%Y-%m-%d}", RENEW)
    if now < authority.begins:
        raise CAError(file, f"the CA is not valid before {authority.begins:%Y-%m-%d}", "set this machine's clock")
    return authority


def _only_reading_is_allowed(error: CAError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


def _as_prepared(folder: Path) -> Authority:
    authority = load(folder)
    fix = f"start Wirekey once where {folder} can be written, and mount what it made"
    if _content(authority.root_file) != authority.root.public_bytes(serialization.Encoding.PEM):
        raise CAError(authority.root_file, "is not the root of the CA beside it", fix)
    for file in (authority.bundle_file, authority.truststore_file):
        if not file.exists():
            raise CAError(file, "is not there, and cannot be written", fix)
    return authority


def _make(folder: Path, hosts: Collection[str]) -> None:
    try:
        pem = make_certificates(hosts, datetime.now(UTC).replace(microsecond=0))
    except ValueError as error:
        raise CAError(folder, f"no CA can be made: {error}", "check the configured hosts") from error
    _write(folder / KEY_FILE, pem, 0o600)


def _write_public(authority: Authority, roots: Iterable[Path] | None) -> None:
    """Write what follows from the CA, where it is missing or differs."""
    folder, root = authority.folder, authority.root
    pem = root.public_bytes(serialization.Encoding.PEM)
    for name in (ROOT_FILE, "mitmproxy-ca-cert.cer"):
        if _content(folder / name) != pem:
            _write(folder / name, pem, 0o644)
            # The one that mitmproxy's onboarding page hands out to Windows.
            p12 = pkcs12.serialize_key_and_certificates(b"wirekey", None, root, None, serialization.NoEncryption())
            _write(folder / "mitmproxy-ca-cert.p12", p12, 0o644)
    files = list(root_files(os.environ) if roots is None else roots)
    own = authority.bundle_file
    combined = bundle(root, (file.read_bytes() for file in files if not (own.exists() and file.samefile(own))))
    if _content(own) != combined or not authority.truststore_file.exists():
        _write(authority.truststore_file, truststore(combined), 0o644)
        _write(own, combined, 0o644)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: several first starts at once make one CA. OSErrors become CAErrors."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / KEY_FILE).exists():
            # A checkout brings the folder along, with a mode of its own.
            folder.chmod(0o700)
        if stat.S_IMODE(folder.stat().st_mode) & 0o022:
            raise CAError(folder, "others may write into the folder of the CA", f"chmod 700 {folder}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(folder / LOCK_FILE, flags, 0o600), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        place = folder if error.filename is None else Path(error.filename)
        raise CAError(place, _reason(error), "let the user that runs Wirekey write there, or set `certs`") from error


def _check_owner_only(file: Path) -> None:
    # A link within the folder is how container platforms mount secrets.
    if file.is_symlink() and not file.resolve().is_relative_to(file.parent.resolve()):
        raise CAError(
            file, "is a symbolic link that leads out of its folder", f"put the file itself into {file.parent}"
        )
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except FileNotFoundError as error:
        raise CAError(file, "there is no CA yet", "`wirekey serve` makes it at its first start") from error
    except OSError as error:
        raise CAError(file, _reason(error), "let the user that runs Wirekey read it") from error
    if mode & 0o077:
        raise CAError(file, f"others may use the CA's key (mode {mode:o})", f"chmod 600 {file}")


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink()
        raise
