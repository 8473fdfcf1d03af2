"""The folder of the CA: created once, read at each start, renewed on demand.

`mitmproxy-ca.pem` (the working CA's key, the working CA, the root) is the CA. Every other file follows from it and is
written again if it is missing or differs. When a CA is created or renewed, this file is written first, and the others
after it. So if the process dies in between, the next start finds a complete CA.
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

from wirekey.core.ca.certificates import make_certificates, permits_gateway, permitted_hosts, read_certificates
from wirekey.core.ca.roots import bundle, root_files, truststore
from wirekey.core.errors import UserError
from wirekey.core.identity import private_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from cryptography import x509

KEY_FILE = "mitmproxy-ca.pem"
ROOT_FILE = "mitmproxy-ca-cert.pem"
BUNDLE_FILE = "bundle.pem"
TRUSTSTORE_FILE = "truststore.p12"
LOCK_FILE = ".lock"
RENEW = "create a new one with `wirekey ca renew` and make the clients trust its root"


class CAError(UserError):
    """The CA cannot be used. The message has the file, what is wrong and what to do."""

    def __init__(self, file: Path, problem: str, fix: str) -> None:
        super().__init__(f"{file}: {problem}; {fix}")
        self.file, self.problem, self.fix = file, problem, fix


@dataclass(frozen=True, slots=True)
class Authority:
    """One CA as its folder has it."""

    folder: Path
    working: x509.Certificate
    root: x509.Certificate

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the host names that the CA may certify, including their subdomains."""
        return permitted_hosts(self.working)

    @property
    def covers_gateway(self) -> bool:
        """Return whether the CA may certify the gateway for programs of this machine."""
        return permits_gateway(self.working)

    @property
    def expires(self) -> datetime:
        """Return the end of the CA's validity."""
        return min(self.working.not_valid_after_utc, self.root.not_valid_after_utc)

    @property
    def begins(self) -> datetime:
        """Return the start of the CA's validity."""
        return max(self.working.not_valid_before_utc, self.root.not_valid_before_utc)

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the root as browsers and openssl show it (AB:CD:…)."""
        return self.root.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def key_file(self) -> Path:
        """Return the path of the CA's key and certificates."""
        return self.folder / KEY_FILE

    @property
    def root_file(self) -> Path:
        """Return the path of the root certificate."""
        return self.folder / ROOT_FILE

    @property
    def bundle_file(self) -> Path:
        """Return the path of the bundle of this root and the machine's other roots."""
        return self.folder / BUNDLE_FILE

    @property
    def truststore_file(self) -> Path:
        """Return the path of the bundle as a Java truststore."""
        return self.folder / TRUSTSTORE_FILE

    def covers(self, hosts: Iterable[str]) -> list[str]:
        """Return those of `hosts` that the CA may not certify."""
        permitted = self.hosts
        return [
            host
            for host in hosts
            if not any(host.lower() == name or host.lower().endswith(f".{name}") for name in permitted)
        ]


def ensure(
    folder: Path, hosts: Collection[str], roots: Iterable[Path] | None = None, given: Path | None = None
) -> Authority:
    """Return the CA of `folder`. Creates one for `hosts` if the folder has no CA.

    `roots`: the PEM files to add to the bundle, by default those that this machine trusts. An existing CA stays as it
    is, even if it does not cover all of `hosts` (see `covers`). A read-only folder, such as one mounted into a
    container, is used as it was prepared. `given`: a file with the CA that several machines share. It replaces another
    CA of the folder, which stays beside it as `.previous`. Raises CAError.
    """
    pem = None if given is None else _given(given)
    try:
        with _locked(folder):
            if pem is not None:
                _use(folder, pem)
            elif not (folder / KEY_FILE).exists():
                _make(folder, hosts)
            authority = load(folder)
            _write_public(authority, roots)
            return authority
    except CAError as error:
        if not (_only_reading_is_allowed(error) and (folder / KEY_FILE).exists()):
            raise
        if pem is not None and _content(folder / KEY_FILE) != pem:
            raise
    return _as_prepared(folder)


def renew(folder: Path, hosts: Collection[str], roots: Iterable[Path] | None = None) -> Authority:
    """Create a new CA for `hosts`. The previous one stays beside it as `.previous`. Raises CAError."""
    with _locked(folder):
        _keep_previous(folder)
        _make(folder, hosts)
        authority = load(folder)
        _write_public(authority, roots)
        return authority


def load(folder: Path, now: datetime | None = None) -> Authority:
    """Read the CA of `folder` and check that it is valid at `now`. Changes nothing. Raises CAError."""
    file = folder / KEY_FILE
    _check_owner_only(file)
    try:
        working, root = read_certificates(private_file.read(file.resolve()))
    except OSError as error:
        raise CAError(file, _reason(error), "make it readable for the user that runs Wirekey") from error
    except ValueError as error:
        raise CAError(file, str(error), RENEW) from error
    authority = Authority(folder, working, root)
    now = now or datetime.now(UTC)
    if now >= authority.expires:
        raise CAError(file, f"the CA expired on {authority.expires:%Y-%m-%d}", RENEW)
    if now < authority.begins:
        raise CAError(file, f"the CA is not valid before {authority.begins:%Y-%m-%d}", "check this machine's clock")
    return authority


def _only_reading_is_allowed(error: CAError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


def _as_prepared(folder: Path) -> Authority:
    authority = load(folder)
    fix = f"start Wirekey once with {folder} writable, and mount the files that it creates"
    if _content(authority.root_file) != authority.root.public_bytes(serialization.Encoding.PEM):
        raise CAError(authority.root_file, "is not the root of the CA beside it", fix)
    for file in (authority.bundle_file, authority.truststore_file):
        if not file.exists():
            raise CAError(file, "does not exist and cannot be written", fix)
    return authority


def _given(file: Path) -> bytes:
    """Return the PEM of a CA that was made elsewhere."""
    try:
        pem = file.read_bytes()
        read_certificates(pem)
    except OSError as error:
        raise CAError(file, _reason(error), "make it readable for the user that runs Wirekey") from error
    except ValueError as error:
        raise CAError(file, str(error), f"certs.key needs a copy of the {KEY_FILE} of another folder") from error
    return pem


def _use(folder: Path, pem: bytes) -> None:
    if _content(folder / KEY_FILE) != pem:
        _keep_previous(folder)
        _write(folder / KEY_FILE, pem, 0o600)


def _keep_previous(folder: Path) -> None:
    for name in (ROOT_FILE, KEY_FILE):
        with contextlib.suppress(FileNotFoundError):
            _write(folder / f"{name}.previous", (folder / name).read_bytes(), 0o600)


def _make(folder: Path, hosts: Collection[str]) -> None:
    try:
        pem = make_certificates(hosts, datetime.now(UTC).replace(microsecond=0))
    except ValueError as error:
        raise CAError(folder, f"no CA can be created: {error}", "check the configured hosts") from error
    _write(folder / KEY_FILE, pem, 0o600)


def _write_public(authority: Authority, roots: Iterable[Path] | None) -> None:
    """Write the files that follow from the CA if they are missing or differ."""
    folder, root = authority.folder, authority.root
    pem = root.public_bytes(serialization.Encoding.PEM)
    for name in (ROOT_FILE, "mitmproxy-ca-cert.cer"):
        if _content(folder / name) != pem:
            _write(folder / name, pem, 0o644)
            # mitmproxy's onboarding page serves this one to Windows.
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
    """Hold the folder's lock, so that several first starts at once create one CA. OSErrors become CAErrors."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / KEY_FILE).exists():
            # The folder may come from a checkout, with another mode.
            folder.chmod(0o700)
        if stat.S_IMODE(folder.stat().st_mode) & 0o022:
            raise CAError(folder, "other users may write to the folder of the CA", f"chmod 700 {folder}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(folder / LOCK_FILE, flags, 0o600), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        place = folder if error.filename is None else Path(error.filename)
        raise CAError(
            place, _reason(error), "make it writable for the user that runs Wirekey, or set `certs`"
        ) from error


def _check_owner_only(file: Path) -> None:
    # Container platforms mount secrets as links within the folder.
    if file.is_symlink() and not file.resolve().is_relative_to(file.parent.resolve()):
        raise CAError(
            file, "is a symbolic link that leads out of its folder", f"move the file itself into {file.parent}"
        )
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except FileNotFoundError as error:
        raise CAError(file, "there is no CA yet", "`wirekey serve` creates it at its first start") from error
    except OSError as error:
        raise CAError(file, _reason(error), "make it readable for the user that runs Wirekey") from error
    if mode & 0o077:
        raise CAError(file, f"other users may use the CA's key (mode {mode:o})", f"chmod 600 {file}")


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
