"""The file that holds the API keys' records: JSON, replaced whole under a lock.

It is made with mode 0600; what replaces it keeps its owner, group and mode, so that the service can
still read what root has changed.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from service.identity.api_keys import ApiKey, KeySet, new_key
from service.identity.principal import ANONYMOUS, Scope

_MODE = 0o600
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MAX_BYTES = 4 * 1024 * 1024


class KeyFileError(Exception):
    """The key file cannot be used; the text says why and how to mend it."""


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    keys: tuple[ApiKey, ...]


class KeyFile:
    """The keys of one service.

    Several processes may change it at once: each change holds a lock on ``<path>.lock``, and
    replaces the file in one step, so that a reader sees the old or the new one. Where the path is
    a link, the file that it leads to is locked and replaced.

    Parameters
    ----------
    path
        The file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[ApiKey, ...]:
        """Return all records, those of expired and revoked keys included.

        Whoever the file belongs to: root keeps it for the service's user.

        Raises
        ------
        KeyFileError
            When the file is missing, unreadable, malformed, or others may write to it.
        """
        return self._read(None)

    def load(self) -> KeySet:
        """Return the keys by id, for a service: whoever owns the file can let themselves in.

        Raises
        ------
        KeyFileError
            As of :meth:`read`, and when the file belongs neither to root nor to this process's
            own user.
        """
        return KeySet(self._read({0, os.geteuid()}))

    def _read(self, owners: set[int] | None) -> tuple[ApiKey, ...]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise KeyFileError(
                f"There is no key file {self.path}. Make it with `deepmedix keys add NAME`."
            ) from error
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be read: {error.strerror}.") from error
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise KeyFileError(f"{self.path} is not a plain file.")
        with os.fdopen(descriptor, "rb") as file:
            if found.st_mode & _OTHERS_WRITE:
                raise KeyFileError(
                    f"Others may write to {self.path}, and so let themselves in. "
                    f"Mend it with `chmod 600 {self.path}`."
                )
            if owners is not None and found.st_uid not in owners:
                raise KeyFileError(
                    f"{self.path} belongs to uid {found.st_uid}, who is neither root nor this "
                    f"service's user and could let themselves in. Mend it with "
                    f"`chown {os.geteuid()} {self.path}`."
                )
            folder = self.path.resolve().parent
            mode = os.stat(folder).st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                raise KeyFileError(
                    f"Anybody may put another file in the place of {self.path}, and so let "
                    f"themselves in. Mend it with `chmod o-w {folder}`."
                )
            try:
                data = file.read(_MAX_BYTES + 1)
            except OSError as error:
                raise KeyFileError(f"{self.path} cannot be read: {error.strerror}.") from error
        return self._parse(data)

    def add(
        self, name: str, scopes: Iterable[Scope], *, expires: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key and keep its record.

        Returns
        -------
        tuple
            The record, and the key itself, which is kept nowhere.

        Raises
        ------
        KeyFileError
            When a key of that name is active, the name stands for nobody, or the file cannot be
            used.
        """
        now = datetime.now(UTC)
        if name.casefold() == ANONYMOUS.name:
            raise KeyFileError(
                f"{ANONYMOUS.name} is what the audit trail calls a caller without a credential. "
                "Choose another name."
            )
        try:
            record, key = new_key(name, scopes, now=now, expires=expires)
        except ValidationError as error:
            raise KeyFileError(
                "A key's name begins with a letter or digit, has at most 64 letters, digits, "
                "dots, dashes and underscores; a key has at least one scope."
            ) from error
        with self._locked():
            keys = self.read() if self.path.exists() else ()
            if any(kept.name == name and kept.status(now) == "active" for kept in keys):
                raise KeyFileError(
                    f"There is an active key named {name}. Choose another name, or revoke that one "
                    f"first with `deepmedix keys revoke {name}`."
                )
            if any(kept.id == name for kept in keys):
                raise KeyFileError("That name is another key's id. Choose another name.")
            if any(kept.id == record.id for kept in keys):  # one in 2**48
                raise KeyFileError("The new key's id is taken already; try once more.")
            self._write((*keys, record))
        return record, key

    def revoke(self, name_or_id: str) -> ApiKey:
        """Revoke a key; its record stays, so that the audit trail can be understood.

        Raises
        ------
        KeyFileError
            When no key that is not revoked yet has that name or id, it is the id of one key and
            the name of another, or the file cannot be used.
        """
        with self._locked():
            keys = self.read()
            if any(
                key.id == name_or_id and other.name == name_or_id and key is not other
                for key in keys
                for other in keys
            ):
                raise KeyFileError(
                    "That is the id of one key and the name of another. Give the first one's name, "
                    "or the other one's id; `deepmedix keys list` shows both."
                )
            fitting = [
                key for key in keys if name_or_id in (key.id, key.name) and key.revoked is None
            ]
            if not fitting:
                raise KeyFileError(
                    "No key of that name or id is left to revoke. `deepmedix keys list` shows all."
                )
            # Of several of one name, all but the last have expired.
            revoked = fitting[-1].model_copy(update={"revoked": datetime.now(UTC)})
            self._write(tuple(revoked if key.id == revoked.id else key for key in keys))
        return revoked

    def _parse(self, data: bytes) -> tuple[ApiKey, ...]:
        wrong = KeyFileError(
            f"{self.path} is not a key file as `deepmedix keys` writes it. Restore it from a copy, "
            "or move it away and add the keys anew."
        )
        if len(data) > _MAX_BYTES:
            raise wrong
        try:
            keys = _Content.model_validate_json(data).keys
        except ValidationError as error:
            raise wrong from error
        if len({key.id for key in keys}) != len(keys):
            raise wrong
        return keys

    @contextmanager
    def _locked(self) -> Iterator[None]:
        target = self.path.resolve()
        lock = target.with_name(target.name + ".lock")
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise KeyFileError(f"{lock} cannot be written: {error.strerror}.") from error
        try:
            if os.geteuid() == 0:
                with suppress(OSError):  # else the file's owner could change nothing any more
                    kept = self._kept() or os.stat(target.parent)
                    os.fchown(descriptor, kept.st_uid, kept.st_gid)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _kept(self) -> os.stat_result | None:
        """Return what is known of the file there is; ``None`` where there is none."""
        try:
            return os.stat(self.path)
        except FileNotFoundError:
            return None

    def _write(self, keys: tuple[ApiKey, ...]) -> None:
        text = json.dumps(_Content(version=1, keys=keys).model_dump(mode="json"), indent=2) + "\n"
        temporary: str | None = None
        try:
            kept = self._kept()
            target = self.path.resolve()
            # mkstemp makes it 0600; in the same folder, so that the replacement is one step.
            descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".keys-")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                if kept is not None:
                    self._keep_owner(file.fileno(), kept)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            temporary = None
            folder = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be written: {error.strerror}.") from error
        finally:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)

    def _keep_owner(self, descriptor: int, kept: os.stat_result) -> None:
        made = os.fstat(descriptor)
        if (made.st_uid, made.st_gid) != (kept.st_uid, kept.st_gid):
            try:
                os.fchown(descriptor, kept.st_uid, kept.st_gid)
            except PermissionError as error:
                raise KeyFileError(
                    f"{self.path} belongs to uid {kept.st_uid}, gid {kept.st_gid}, and must go on "
                    "to, or the service could no longer read it. Run this as that user "
                    "(`runuser -u deepmedix -- deepmedix keys ...`) or as root."
                ) from error
        os.fchmod(descriptor, stat.S_IMODE(kept.st_mode))
