"""Where files are: folders of this machine, or any fsspec URL. What is there, opening it, whether it is the same."""

from __future__ import annotations

import glob
import io
import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast
from urllib.parse import unquote, urlsplit

import fsspec
from aiohttp import ClientSession, TCPConnector
from yarl import URL

from clearwell.egress_stores import require_allowed_store
from clearwell.errors import ClearwellError, ConfigError, Retryable
from connectors.http.session import JudgingResolver, guard_for

_WEB = ("http", "https")
_LOCAL = ("file", "local")
_VERSIONS = ("ETag", "etag", "generation", "md5", "checksum", "mtime", "LastModified", "last_modified", "created")
_DENIED = ("NoCredentialsError", "PartialCredentialsError", "ClientResponseError", "LoginError", "AuthenticationError")


class File(NamedTuple):
    """A file: the name by which ids and positions know it, where it is, and its size when it was looked for."""

    key: str
    path: str
    size: int


class Store(Protocol):
    """Blocks; what goes wrong is raised as ConfigError (to be mended) or Retryable (may pass)."""

    place: str

    def find(self) -> list[File]:
        """The files, in no order; none where there are none."""

    def open(self, file: File) -> tuple[BinaryIO, object]:
        """The file for reading, and what tells this very content from another of the same name."""

    def now(self, file: File) -> tuple[object, int]:
        """What `open` would give as identity now, and the size in bytes. Raises ConfigError when it is gone."""

    def failures(self, file: File) -> Any:
        """A context in which the failures of reading a file are given their meaning."""


def store_of(path: str, options: Mapping[str, Any]) -> Store:
    """The store that `path` names. Raises ConfigError for a URL that nothing can read."""
    scheme, found, rest = path.partition("://")
    if not found:
        return LocalStore(Path(path).absolute())
    if scheme in _LOCAL:
        return LocalStore(Path(unquote(rest)).absolute())
    return UrlStore(path, scheme.lower(), options)


class LocalStore:
    """Files of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.place = str(path)

    def find(self) -> list[File]:
        """A folder's files, a pattern's, or the one that is named, also when it is not there."""
        path = self._path
        if path.is_dir():
            return [_local(one, path) for one in path.iterdir() if one.is_file()]
        if not glob.has_magic(str(path)):
            return [File(_key(path.name), str(path), path.stat().st_size if path.is_file() else 0)]
        root = path
        while glob.has_magic(str(root)):
            root = root.parent
        return [_local(one, root) for one in root.glob(str(path.relative_to(root))) if one.is_file()]

    def open(self, file: File) -> tuple[BinaryIO, object]:
        """Identity is the inode: a file put in its place has another."""
        opened = io.FileIO(file.path)
        return cast(BinaryIO, opened), _inode(os.fstat(opened.fileno()))

    def now(self, file: File) -> tuple[object, int]:
        """By `stat`."""
        with self.failures(file):
            found = Path(file.path).stat()
        return _inode(found), found.st_size

    @contextmanager
    def failures(self, file: File) -> Iterator[None]:
        """The operating system's errors."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(f"{file.path} does not exist: set `path` right.") from None
        except PermissionError:
            raise ConfigError(f"{file.path} may not be read by this user: grant the right.") from None
        except OSError as error:
            raise Retryable(f"{file.path} could not be read ({os.strerror(error.errno or 0)}); trying again.") from None


def _local(path: Path, root: Path) -> File:
    return File(_key(path.relative_to(root)), str(path), path.stat().st_size)


def _key(path: Path | str) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


class UrlStore:
    """Files behind a URL, read by its fsspec file system."""

    def __init__(self, url: str, scheme: str, options: Mapping[str, Any]) -> None:
        if "::" in url:
            raise ConfigError("`path` chains URLs (`::`): name one.")
        self._url, self._scheme, self._options = url, scheme, dict(options)
        parts = urlsplit(url)
        self.place = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._made: Any = None

    def find(self) -> list[File]:
        """A folder's or bucket's files, a pattern's, or the one that is named."""
        with self.failures(None):
            fs, path = self._fs()
            fs.invalidate_cache()
            if self._scheme in _WEB:
                return [File(_last(urlsplit(path).path), path, int(fs.info(path).get("size") or 0))]
            if glob.has_magic(path):
                found = fs.glob(path, detail=True)
                root = path[: min(path.index(one) for one in "*?[" if one in path)].rpartition("/")[0]
            elif fs.isdir(path):
                found, root = fs.find(path, maxdepth=1, detail=True), path
            else:
                found, root = {path: fs.info(path)}, posixpath.dirname(path)
            wanted = {name: info for name, info in found.items() if info.get("type") == "file"}
            return [
                File(posixpath.relpath(name, root or "/" * name.startswith("/")), name, int(info.get("size") or 0))
                for name, info in wanted.items()
            ]

    def open(self, file: File) -> tuple[BinaryIO, object]:
        """Identity is what the file system tells apart versions by (an ETag, a time)."""
        fs, _ = self._fs()
        identity = _version(fs.info(file.path))
        return fs.open(file.path, "rb"), identity

    def now(self, file: File) -> tuple[object, int]:
        """As the file system tells now."""
        with self.failures(file):
            fs, _ = self._fs()
            fs.invalidate_cache()
            info = fs.info(file.path)
            return _version(info), int(info.get("size") or 0)

    @contextmanager
    def failures(self, file: File | None) -> Iterator[None]:
        """File systems raise their drivers' errors, whose texts may hold credentials: only their kind is told."""
        place = self.place if file is None else f"{file.key} of {self.place}"
        try:
            yield
        except (ClearwellError, EOFError):
            raise
        except Exception as error:
            meaning = _meaning(error, place)
            if meaning is None:
                raise
            raise meaning from None

    def _fs(self) -> tuple[Any, str]:
        if self._made is None:
            require_allowed_store(self._url, self._options)
            options = dict(self._options)
            if self._scheme in _WEB:
                options["get_client"] = self._session
            try:
                self._made = fsspec.core.url_to_fs(self._url, skip_instance_cache=True, **options)
            except (ImportError, ValueError) as error:
                raise ConfigError(
                    f'Nothing here reads "{self._scheme}" URLs ({type(error).__name__}): is the scheme right, and the '
                    "fsspec package for it installed (such as s3fs)?"
                ) from None
            except TypeError:
                raise ConfigError(f'`storage_options` has a key that "{self._scheme}" does not know.') from None
        return self._made  # type: ignore[no-any-return]

    async def _session(self, **options: Any) -> ClientSession:
        """Judges every address while connecting, also after a redirect."""
        options.pop("loop", None)
        connector = TCPConnector(resolver=JudgingResolver(), use_dns_cache=False)
        return ClientSession(connector=connector, middlewares=(guard_for(URL(self._url)),), **options)


def _meaning(error: Exception, place: str) -> ClearwellError | None:
    """What a file system's error says; None for what can only be a bug of ours. Over HTTP its cause says more."""
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if isinstance(cause, ClearwellError):
        return cause
    status, kind = getattr(cause, "status", None), type(cause)
    of_web = kind.__module__.startswith("aiohttp")
    if status in (404, 410) or (isinstance(error, FileNotFoundError) and not of_web):
        return ConfigError(f"{place} does not exist: set `path` right.")
    if isinstance(error, PermissionError):
        return ConfigError(f"{place} may not be read: check the credentials in `storage_secrets`.")
    if kind.__module__ == "builtins" and not isinstance(cause, OSError):
        return None
    if kind.__name__ in _DENIED and (status is None or 400 <= status < 429):
        return ConfigError(f"{place} refuses us ({status or kind.__name__}): check the credentials.")
    return Retryable(f"{place} could not be read ({status or kind.__name__}); trying again.")


def _version(info: Mapping[str, Any]) -> object:
    """What tells an object from another of the same name, by the first that its file system knows; and the size."""
    return next((info[name] for name in _VERSIONS if info.get(name)), None), info.get("size")


def _last(path: str) -> str:
    return unquote(path.rstrip("/").rpartition("/")[2]) or "index"
