"""Where the history of feature views lies as files: a folder of this machine, or any fsspec URL."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import fsspec

from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.settings import Settings, redact

Result = TypeVar("Result")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NOT_OURS = (PermissionError, NotADirectoryError, IsADirectoryError)
_MENDED_BY_HAND = (errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder. Every method raises ConfigError when a person must mend it, Retryable when the store is not well."""

    url: str

    @classmethod
    def root(cls, settings: Settings) -> Self:
        """What the histories of all views are under: CLEARWELL_OFFLINE, else `offline` in the data folder.

        The client of an object store reads what it needs from the environment (AWS_ENDPOINT_URL, …).
        """
        url = settings.offline or str(settings.home / "offline")
        return cls(url.rstrip("/") if _URL.match(url) else str(Path(url).absolute()))

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self.url}/{name}")

    @property
    def path(self) -> Path | None:
        """The folder, where it is one of this machine."""
        return None if _URL.match(self.url) else Path(self.url)

    @property
    def shown(self) -> str:
        """The folder for people, without a password."""
        return redact(self.url)

    def put(self, name: str, data: bytes) -> None:
        """Make a file durable: whole or not at all. One of that name is replaced."""
        path = self.path
        if path is not None:
            self._told("write to", lambda: _put(path / name, data))
        else:
            self._told("write to", lambda: self._use(lambda fs, at: fs.pipe_file(f"{at}/{name}", data)))

    def get(self, name: str) -> bytes:
        """A file's bytes. Raises FileNotFoundError when there is none of that name."""
        return bytes(self._told("read", lambda: self._use(lambda fs, at: fs.cat_file(f"{at}/{name}"))))

    def names(self) -> list[str]:
        """The names of the files in it; none when it does not exist."""
        try:
            found = self._told("list", lambda: self._use(lambda fs, at: fs.ls(at, detail=False)))
        except FileNotFoundError:
            return []
        return sorted(str(one).rstrip("/").rpartition("/")[2] for one in found)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already don't matter."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self._told("remove a file of", partial(self._use, partial(_remove, name=name)))

    def _use(self, act: Callable[[Any, str], Result]) -> Result:
        fs, at = fsspec.core.url_to_fs(self.url)
        fs.invalidate_cache()
        return act(fs, at.rstrip("/"))

    def _told(self, doing: str, act: Callable[[], Result]) -> Result:
        """What goes wrong becomes a sentence; the words of a store's client may hold secrets (invariant 10)."""
        try:
            return act()
        except (FileNotFoundError, ClearwellError):
            raise
        except _NOT_OURS as error:
            raise self._by_hand(doing, type(error).__name__) from None
        except OSError as error:
            if error.errno in _MENDED_BY_HAND:
                raise self._by_hand(doing, errno.errorcode[error.errno]) from None
            raise Retryable(f"Can't {doing} {self.shown} now ({_named(error)}).") from None
        except (ImportError, ValueError) as error:  # fsspec: no such protocol, or its package is not there
            raise ConfigError(
                f"Can't {doing} {self.shown} ({type(error).__name__}): is CLEARWELL_OFFLINE right, and the fsspec "
                "package for it installed (such as s3fs)?"
            ) from None
        except Exception as error:
            raise Retryable(f"Can't {doing} {self.shown} now ({type(error).__name__}).") from None

    def _by_hand(self, doing: str, named: str) -> ConfigError:
        return ConfigError(
            f"Can't {doing} {self.shown} ({named}): give this user the right to, or set CLEARWELL_OFFLINE to another "
            "folder."
        )


def _named(error: OSError) -> str:
    """The condition's name, such as ENOSPC; its text may quote more than is ours to show."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _remove(fs: Any, at: str, name: str) -> None:
    fs.rm_file(f"{at}/{name}")


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")  # readers of a folder pass over names that begin with a dot
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
