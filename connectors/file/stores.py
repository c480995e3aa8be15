"""Where files are: folders of this machine, or any fsspec URL. What is there, opening it, whether it is the same."""

from __future__ import annotations

import glob
import io
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast
from urllib.parse import unquote, urlsplit

import fsspec
from aiohttp import ClientSession, TCPConnector
from yarl import URL

from clearwell.egress_stores import require_allowed_store
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.file_roots import require_readable
from connectors.http.session import JudgingResolver, guard_for

_WEB = ("http", "https")
_LOCAL = ("file", "local")
_VERSIONS = ("ETag", "etag", "generation", "md5", "checksum", "mtime", "LastModified", "last_modified", "created")
_DENIED = ("NoCredentialsError", "PartialCredentialsError", "ClientResponseError", "LoginError", "AuthenticationError")


class File(NamedTuple):
    """A file when it was looked for: the name by which ids and positions know it, where it is, its size.

    `stamp` changes when the file does, where that can be told.
    """

    key: str
    path: str
    size: int
    stamp: object = None


class FileStore(Protocol):
    """Blocks; what goes wrong is raised as ConfigError (to be mended) or Retryable (may pass)."""

    place: str
    local: bool
    others: list[str]
    """Names of what is there and no file, such as folders, when it was last looked."""

    def find(self) -> list[File]:
        """The files, in no order; none where there are none."""

    def is_named(self, file: File) -> bool:
        """Whether this file is what was named, not one of a folder or pattern."""

    def open(self, file: File) -> tuple[BinaryIO, object]:
        """The file for reading, and what tells this very content from another of the same name."""

    def now(self, file: File) -> tuple[object, int]:
        """What `open` would give as identity now, and the size in bytes. Raises ConfigError when it is gone."""

    def failures(self, file: File) -> Any:
        """A context in which the failures of reading a file are given their meaning."""


def store_of(path: str, options: Mapping[str, Any]) -> FileStore:
    """The store that `path` names. Raises ConfigError for a URL that nothing can read."""
    scheme, separator, rest = path.partition("://")
    if not separator:
        return LocalStore(Path(path).absolute())
    if scheme.lower() in _LOCAL:
        return LocalStore(Path(unquote(rest)).absolute())
    return UrlStore(path, scheme.lower(), options)


class LocalStore:
    """Files of this machine."""

    local = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self.place = str(path)
        self.others: list[str] = []

    def find(self) -> list[File]:
        """A folder's files, a pattern's, or the one that is named, also when it is not there."""
        path = self._path
        require_readable(_without_magic(path))
        if path.is_dir():
            return self._files(path.iterdir(), path)
        if not glob.has_magic(str(path)):
            status = _status(path)
            return [File(_key(path.name), str(path), status.st_size if status else 0, status and status.st_ctime_ns)]
        root = _without_magic(path)
        return self._files(root.glob(str(path.relative_to(root))), root)

    def _files(self, paths: Iterable[Path], root: Path) -> list[File]:
        self.others, files = [], []
        for path in paths:
            status, key = _status(path), _key(path.relative_to(root))
            if status is not None and stat.S_ISREG(status.st_mode):
                files.append(File(key, str(path), status.st_size, status.st_ctime_ns))
            elif status is not None or path.is_symlink():  # else it has gone since it was listed
                self.others.append(key)
        return files

    def is_named(self, file: File) -> bool:
        """By its path."""
        return Path(file.path) == self._path

    def open(self, file: File) -> tuple[BinaryIO, object]:
        """Identity is the inode: a file put in its place has another."""
        status = _status(Path(file.path))
        if status is not None and not stat.S_ISREG(status.st_mode):  # a pipe would wait for its writer
            raise ConfigError(f"{file.path} is no file that can be read from its beginning: set `path` right.")
        opened = io.FileIO(file.path)
        try:
            require_readable(_opened(opened, file))
        except ConfigError:
            opened.close()
            raise
        return cast(BinaryIO, opened), _inode(os.fstat(opened.fileno()))

    def now(self, file: File) -> tuple[object, int]:
        """By `stat`."""
        with self.failures(file):
            status = Path(file.path).stat()
        return _inode(status), status.st_size

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


def _without_magic(path: Path) -> Path:
    """The folder under which a pattern looks; a path without wildcards as it is."""
    while glob.has_magic(str(path)):
        path = path.parent
    return path


def _opened(file: io.FileIO, named: File) -> Path:
    """Where the open file really is: a link may have been turned since it was looked at."""
    try:
        return Path(f"/proc/self/fd/{file.fileno()}").readlink()
    except OSError:  # not Linux
        return Path(named.path)


def _status(path: Path) -> os.stat_result | None:
    """None when nothing is there, or a link that leads nowhere."""
    try:
        return path.stat()
    except OSError:
        return None


def _key(path: Path | str) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


class UrlStore:
    """Files behind a URL, read by its fsspec file system."""

    local = False

    def __init__(self, url: str, scheme: str, options: Mapping[str, Any]) -> None:
        if "::" in url:
            raise ConfigError("`path` chains URLs (`::`): name one.")
        self._url, self._scheme, self._options = url, scheme, dict(options)
        parts = urlsplit(url)
        self.place = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._made: Any = None
        self.others: list[str] = []

    def find(self) -> list[File]:
        """A folder's or bucket's files, a pattern's, or the one that is named."""
        with self.failures(None):
            fs, path = self._fs()
            fs.invalidate_cache()
            if self._scheme in _WEB:
                info = fs.info(path)
                return [File(_last(urlsplit(path).path), path, int(info.get("size") or 0), _version(info))]
            if glob.has_magic(path):
                entries = fs.glob(path, detail=True)
                root = path[: min(path.index(wildcard) for wildcard in "*?[" if wildcard in path)].rpartition("/")[0]
            elif fs.isdir(path):
                entries, root = fs.find(path, maxdepth=1, detail=True), path
            else:
                entries, root = {path: fs.info(path)}, posixpath.dirname(path)
            files = {name: info for name, info in entries.items() if info.get("type") == "file"}
            self.others = [_last(name) for name in entries if name not in files]
            return [
                File(
                    posixpath.relpath(name, root or "/" * name.startswith("/")),
                    name,
                    int(info.get("size") or 0),
                    _version(info),
                )
                for name, info in files.items()
            ]

    def is_named(self, file: File) -> bool:
        """By its path, as its file system writes it."""
        return self._scheme in _WEB or file.path == self._fs()[1]

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
        location = self.place if file is None else f"{file.key} of {self.place}"
        try:
            yield
        except (ClearwellError, EOFError):
            raise
        except Exception as error:
            meaning = _meaning(error, location)
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


def _meaning(error: Exception, location: str) -> ClearwellError | None:
    """What a file system's error says; None for what can only be a bug of ours. Over HTTP its cause says more."""
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if isinstance(cause, ClearwellError):
        return cause
    status, kind = getattr(cause, "status", None), type(cause)
    of_web = kind.__module__.startswith("aiohttp")
    if status in (404, 410) or (isinstance(error, FileNotFoundError) and not of_web):
        return ConfigError(f"{location} does not exist: set `path` right.")
    if isinstance(error, PermissionError):
        return ConfigError(f"{location} may not be read: check the credentials in `storage_secrets`.")
    if kind.__module__ == "builtins" and not isinstance(cause, OSError):
        return None
    if kind.__name__ in _DENIED and (status is None or 400 <= status < 429):
        return ConfigError(f"{location} refuses us ({status or kind.__name__}): check the credentials.")
    return Retryable(f"{location} could not be read ({status or kind.__name__}); trying again.")


def _version(info: Mapping[str, Any]) -> object:
    """What tells an object from another of the same name, by the first that its file system knows; and the size."""
    return next((info[name] for name in _VERSIONS if info.get(name)), None), info.get("size")


def _last(path: str) -> str:
    return unquote(path.rstrip("/").rpartition("/")[2]) or "index"
