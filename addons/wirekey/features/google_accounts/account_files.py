"""The folder of accounts: one file for each, which only its owner may read, changed by one process at a time."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from wirekey.core.command_name import COMMAND
from wirekey.core.errors import UserError
from wirekey.core.identity import private_file
from wirekey.features.google_accounts.account_json import AccountFormatError, decode_account, encode_account
from wirekey.features.google_accounts.accounts import GoogleAccount, is_account_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wirekey.core.identity.private_file import FileVersion

SUFFIX = ".json"


class AccountError(UserError):
    """An account does not exist, exists already, or its file cannot be used."""


class AccountFiles:
    """The accounts in a folder. Methods raise AccountError. `folder` is created with the first account."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, account_id: str) -> Path:
        """Return the file of an account. Raises AccountError if the id is not valid."""
        if not is_account_id(account_id):
            message = "An account id has at most 64 letters, digits, dots, hyphens and underscores, and begins with a "
            raise AccountError(message + "letter or a digit.")
        return self.folder / f"{account_id}{SUFFIX}"

    def versions(self) -> dict[str, FileVersion]:
        """Return account id → version of its file. Raises OSError."""
        try:
            names = sorted(path.name for path in self.folder.iterdir() if path.name.endswith(SUFFIX))
        except FileNotFoundError:
            return {}
        ids = [name.removesuffix(SUFFIX) for name in names]
        return {one: private_file.file_version(self.path(one)) for one in ids if is_account_id(one)}

    def find(self, account_id: str) -> GoogleAccount | None:
        """Return an account, or None if there is no such file."""
        path = self.path(account_id)
        try:
            return decode_account(private_file.read(path), account_id)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AccountError(f"{path} cannot be read: {error.strerror}.") from error
        except AccountFormatError as error:
            raise AccountError(f"{path} {error}: {COMMAND} accounts update {account_id}") from None

    def get(self, account_id: str) -> GoogleAccount:
        """Return an account."""
        account = self.find(account_id)
        if account is None:
            known = ", ".join(self.versions()) or f"none yet. Add one: {COMMAND} accounts add"
            raise AccountError(f"There is no account {account_id}. The accounts are: {known}")
        return account

    def all(self) -> tuple[list[GoogleAccount], list[AccountError]]:
        """Return the accounts, in the order of their ids, and the problems of files that cannot be used."""
        accounts, problems = [], []
        try:
            ids = list(self.versions())
        except OSError as error:
            return [], [AccountError(f"{self.folder} cannot be read: {error.strerror}.")]
        for account_id in ids:
            try:
                if account := self.find(account_id):
                    accounts.append(account)
            except AccountError as error:
                problems.append(error)
        return accounts, problems

    @contextlib.contextmanager
    def locked(self, account_id: str) -> Iterator[None]:
        """Keep other processes from changing an account."""
        path = self.path(account_id)
        with contextlib.ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                if self.folder.stat().st_mode & 0o077:
                    self.folder.chmod(0o700)
                stack.enter_context(private_file.exclusive(path))
            except OSError as error:
                raise AccountError(f"{path} cannot be locked: {error.strerror}.") from error
            yield

    def write(self, account: GoogleAccount) -> None:
        """Replace the file of an account. Call it within `locked`."""
        path = self.path(account.account_id)
        try:
            private_file.replace(path, encode_account(account))
        except OSError as error:
            raise AccountError(f"{path} cannot be written: {error.strerror}. Nothing was changed.") from error

    def change(self, account_id: str, change: Callable[[GoogleAccount], GoogleAccount]) -> GoogleAccount | None:
        """Change an account that exists, and return it as it is now; None if it does not exist."""
        with self.locked(account_id):
            before = self.find(account_id)
            if before is None:
                return None
            after = change(before)
            if after != before:
                self.write(after)
            return after

    def add(self, account: GoogleAccount) -> None:
        """Store an account that does not exist yet."""
        with self.locked(account.account_id):
            if self.path(account.account_id).exists():
                raise AccountError(
                    f"There is an account {account.account_id} already. To log it in again: {COMMAND} accounts update "
                    f"{account.account_id}"
                )
            self.write(account)

    def remove(self, account_id: str) -> None:
        """Delete the file of an account."""
        with self.locked(account_id):
            path = self.path(account_id)
            try:
                path.unlink()
            except OSError as error:
                raise AccountError(f"{path} cannot be deleted: {error.strerror}.") from error
            path.with_name(path.name + ".lock").unlink(missing_ok=True)

    def free_id(self, email: str | None) -> str:
        """Return an id that no account has, made from an email."""
        usual = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in (email or "account"))
        usual = usual.lstrip("._-")[:48] or "account"
        taken = set(self.versions())
        return next(one for n in range(1, len(taken) + 3) if (one := usual if n == 1 else f"{usual}-{n}") not in taken)


def now_in_milliseconds() -> int:
    """Return the time as account files have it."""
    return int(time.time() * 1000)
