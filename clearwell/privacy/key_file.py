"""Keys in a local file: for one machine, for development, and for tests. The secrets never leave DataKey."""

from __future__ import annotations

import base64
import binascii
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from clearwell.errors import ConfigError, Hint
from clearwell.privacy.envelope import KEY_BYTES, KEY_ID
from clearwell.privacy.keyring import DataKey
from clearwell.privacy.pseudonym import derive_key

FORMAT = "clearwell-keys-1"
MAX_BYTES = 1_048_576

LOOK_EVERY = 2.0
"""Seconds after which a process that seals looks whether another one has rotated the file."""


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    created: str
    secret: str

    def __repr__(self) -> str:  # invariant 10
        return "_Key(***)"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    active: str
    pseudonym: str
    keys: dict[str, _Key]

    def __repr__(self) -> str:  # invariant 10
        return f"_File(active={self.active!r})"


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key."""

    id: str
    created: str
    active: bool


class LocalKeyring:
    """The `Keyring` of a key file: one active key seals, all of them open, whatever the subject.

    Raises ConfigError when the file is missing, damaged, or readable by others (invariant 6).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._load()

    def _load(self) -> None:
        self._looked = time.monotonic()
        version = _version(self._path)  # before reading, so that a rotation in between is seen the next time
        known = _read(self._path)
        self._keys = {name: DataKey(name, _secret(key.secret, self._path)) for name, key in known.keys.items()}
        self._active = self._keys[known.active]
        self._root = _secret(known.pseudonym, self._path)
        self._infos = tuple(KeyInfo(name, key.created, name == known.active) for name, key in known.keys.items())
        self._version = version

    def _load_if_changed(self) -> None:
        self._looked = time.monotonic()
        if _version(self._path) != self._version:
            self._load()

    def __repr__(self) -> str:  # invariant 10
        return f"LocalKeyring({str(self._path)!r})"

    def seal_key(self, subject: str | None) -> DataKey:
        """The active key, as of a look at the file at most LOOK_EVERY seconds ago.

        Raises ConfigError when the file has meanwhile gone, or is damaged (invariant 6).
        """
        if time.monotonic() - self._looked >= LOOK_EVERY:
            self._load_if_changed()
        return self._active

    def open_key(self, key_id: str) -> DataKey:
        """The key called `key_id`. Raises KeyError when the file has none, also after a look at what changed in it."""
        if key_id not in self._keys:
            self._load_if_changed()  # rotated by another process since we read it
        return self._keys[key_id]

    def pseudonym_key(self, stream: str) -> DataKey:
        """The key of a stream's pseudonyms, derived from the file's root; rotation does not change it."""
        return derive_key(self._root, stream)

    def infos(self) -> tuple[KeyInfo, ...]:
        """What may be shown of the keys, in the order they were made."""
        return self._infos

    @classmethod
    def create(cls, path: Path) -> LocalKeyring:
        """Make a key file with one key, readable by its owner only. Raises ConfigError when there is one already."""
        first = next_id([])
        _write(path, _File(FORMAT, first, _fresh(), {first: _Key(_now(), _fresh())}), replace=False)
        return cls(path)

    @classmethod
    def rotate(cls, path: Path, before: str | None = None) -> LocalKeyring:
        """Add a key and make it the active one; what the older ones sealed still opens.

        Raises ConfigError, also (code "plan_is_old") when the active key is not `before` any more.
        """
        with _locked(path):
            known = _read(path)
            if before not in (None, known.active):
                raise ConfigError(
                    f'The key file {path} has been rotated since this was planned: "{known.active}" seals, not '
                    f'"{before}".',
                    code="plan_is_old",
                )
            new = next_id(known.keys)
            keys = {**known.keys, new: _Key(_now(), _fresh())}
            _write(path, _File(FORMAT, new, known.pseudonym, keys), replace=True)
        return cls(path)


def require_no_file(path: Path) -> None:
    """Raise ConfigError when there is a key file already."""
    if path.exists():
        raise _exists(path)


def next_id(taken: Iterable[str]) -> str:
    """The id that the next key gets: local-1, local-2, ..."""
    numbers = [int(name[6:]) for name in taken if name.startswith("local-") and name[6:].isdigit()]
    return f"local-{max(numbers, default=0) + 1}"


def _fresh() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _read(path: Path) -> _File:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(
                    f"The key file {path} can be read by others.",
                    code="key_file_not_private",
                    hint=Hint("keys.make_private", str(path)),
                )
            written = file.read(MAX_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"There is no key file at {path}.", code="no_key_file", hint=Hint("keys.create")) from None
    except OSError as error:
        raise ConfigError(f"The key file {path} can't be read: {error.strerror}.") from None
    return _decode(written, path)


def _decode(written: bytes, path: Path) -> _File:
    try:
        known = msgspec.json.decode(written, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _damaged(path, "it is not the JSON of a key file") from None
    if known.format != FORMAT:
        raise _damaged(path, f"its format is not {FORMAT}")
    if known.active not in known.keys:
        raise _damaged(path, "its active key is not in it")
    if not all(KEY_ID.match(name) for name in known.keys):
        raise _damaged(path, "an id holds other characters than letters, digits, _ and -")
    return known


def _secret(text: str, path: Path) -> bytes:
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise _damaged(path, f"a key is not {KEY_BYTES} bytes in base64")
    return secret


def _damaged(path: Path, why: str) -> ConfigError:
    return ConfigError(f"The key file {path} is damaged ({why}): restore it from your backup.")


def _write(path: Path, content: _File, *, replace: bool) -> None:
    """Durable and all at once: readers see the old file or the new one. Raises ConfigError, also when it is there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
        _sync_folder(path.parent)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise ConfigError(f"The key file {path} can't be written: {error.strerror}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def _exists(path: Path) -> ConfigError:
    return ConfigError(f"There is a key file at {path} already; it is not touched.", code="key_file_exists")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One rotation at a time: a lock on the folder, which is let go when the process ends, however it ends."""
    try:
        handle = os.open(path.parent, os.O_RDONLY)
    except OSError:
        raise ConfigError(f"There is no folder {path.parent} with a key file.") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
