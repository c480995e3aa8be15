"""A folder of files, of this machine or behind any fsspec URL: a file appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import fsspec

from clearwell.egress_stores import require_allowed_store
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.settings import redact

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_WHOLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory")
"""Stores where what is put is there at its end only; elsewhere a file is written beside, and renamed."""

_DENIED = ("NoCredentialsError", "PartialCredentialsError", "ClientAuthenticationError", "LoginError")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_BY_HAND = (errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)


class FolderStore:
    """One folder. Paths are relative to it, with slashes. Every method blocks, and raises:

    ConfigError when a person must mend something, Retryable when the store is not well.
    """

    judged: ClassVar[bool] = True
    """Whether its servers are judged by CLEARWELL_EGRESS_ALLOW."""
    mend: ClassVar[str] = "check the path, the rights and the credentials"
    """What a person is to do where it can't be used."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        """Does no I/O. Raises ConfigError when `url` is none."""
        self.is_local = not _URL.match(url)
        if "::" in url:
            raise ConfigError("`url` chains URLs (`::`): name one.")
        self.url = str(Path(url).absolute()) if self.is_local else url.rstrip("/")
        self._options = dict(options or {})
        self.shown = redact(self.url)
        self._fs: Any = None

    def put(self, path: str, data: bytes) -> None:
        """Make a file durable; one of that name is replaced."""
        with self._failures("written"):
            fs, root = self._opened()
            if self.is_local:
                _put_local(Path(root, path), data)
            elif urlsplit(self.url).scheme in _WHOLE:
                fs.pipe_file(f"{root}/{path}", data)
            else:
                folder, _, name = f"{root}/{path}".rpartition("/")
                fs.makedirs(folder, exist_ok=True)
                fs.pipe_file(f"{folder}/.{name}.part", data)
                fs.mv(f"{folder}/.{name}.part", f"{folder}/{name}")

    def get(self, path: str) -> bytes | None:
        """A file's bytes; None when there is none of that name."""
        with self._failures("read"):
            fs, root = self._opened()
            try:
                return bytes(fs.cat_file(f"{root}/{path}"))
            except FileNotFoundError:
                return None

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files; those that are gone already don't matter."""
        with self._failures("written"):
            fs, root = self._opened()
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    fs.rm_file(f"{root}/{path}")

    def find(self) -> list[str]:
        """The paths of all files in it and its folders; none when it does not exist."""
        with self._failures("listed"):
            fs, root = self._opened()
            fs.invalidate_cache()
            return [path[len(root) + 1 :] for path in fs.find(root)]

    def close(self) -> None:
        """The next call connects anew."""
        self._fs = None

    def _opened(self) -> tuple[Any, str]:
        """The file system, and the folder's path in it."""
        if self._fs is None:
            if self.judged and not self.is_local:
                require_allowed_store(self.url, self._options)
            try:
                self._fs = fsspec.core.url_to_fs(self.url, skip_instance_cache=True, **self._options)
            except (ImportError, ValueError) as error:
                raise ConfigError(
                    f"Nothing here writes to {self.shown} ({type(error).__name__}): is the URL's scheme right, and the "
                    "fsspec package for it installed (such as s3fs)?"
                ) from None
            except TypeError:
                raise ConfigError(
                    f"`storage_options` has a key that the client of {self.shown} does not know."
                ) from None
        fs, root = self._fs
        return fs, str(root).rstrip("/")

    @contextlib.contextmanager
    def _failures(self, done: str) -> Iterator[None]:
        """The clients of stores raise their own errors, whose texts may hold secrets: only their kind is told."""
        try:
            yield
        except ClearwellError:
            raise
        except Exception as error:
            self.close()
            raise self._meaning(error, done) from None

    def _meaning(self, error: Exception, done: str) -> ClearwellError:
        named = type(error).__name__
        if isinstance(error, OSError) and error.errno:
            named = errno.errorcode.get(error.errno, named)
        if isinstance(error, OSError) and error.errno in _FULL:
            return Retryable(f"There is no space left for {self.shown} ({named}): make room.")
        by_hand = isinstance(error, OSError) and error.errno in _BY_HAND
        if by_hand or named in _DENIED or isinstance(error, PermissionError | NotADirectoryError | IsADirectoryError):
            return ConfigError(f"{self.shown} can't be {done} ({named}): {self.mend}.")
        if isinstance(error, FileNotFoundError):
            return ConfigError(f"{self.shown} can't be {done}: its bucket or folder does not exist.")
        return Retryable(f"{self.shown} could not be {done} now ({named}).")


def _put_local(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")  # readers of a folder pass over names that begin with a dot
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # half a file would keep what is left of a full disk
        part.unlink(missing_ok=True)
        raise
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
