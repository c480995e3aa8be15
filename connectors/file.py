"""Files as a source: NDJSON and CSV, plain or gzip, one file or the sorted files of a folder or pattern."""

from __future__ import annotations

import asyncio
import glob
import gzip
import os
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec

from clearwell.errors import ConfigError, Retryable
from clearwell.source import HEARTBEAT_SECONDS, PATH, Batch, DiscoveredStream, SourceConfig, SourceEvent, SourcePosition
from connectors.file_csv import CsvReader, Rows, read_header, require_columns
from connectors.file_lines import Lines
from connectors.file_ndjson import NdjsonReader

Format = Literal["auto", "ndjson", "csv"]
_SUFFIXES: dict[str, Literal["ndjson", "csv"]] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".csv": "csv",
}
SAMPLE = 20


class FileConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the events are and how to read them.

    path: a file, a folder, or a pattern such as "in/*.ndjson.gz", whose files are read in the order of their names (a
    file that comes later must sort last). format: "auto" goes by the name's ending.
    id_field: the field whose value is the event's id; without it, or where an event lacks it, the id is
    "<file name>#<byte offset>". columns: types of CSV columns (a CSV value is a string otherwise, and null when empty).
    follow: keep reading what is appended to the (one, plain) file. poll_seconds: how often to look for it.
    batch_events: events taken together, at most.
    """

    path: Annotated[str, PATH]
    format: Format = "auto"
    id_field: str | None = None
    columns: dict[str, Literal["string", "int", "float", "bool"]] = {}
    follow: bool = False
    poll_seconds: Annotated[float, msgspec.Meta(gt=0)] = 0.5
    batch_events: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 5_000


class FilePosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`offset` counts the bytes read of the uncompressed content of `file`."""

    file: str
    offset: Annotated[int, msgspec.Meta(ge=0)]


class FileSource:
    """Reads files in batches."""

    name: ClassVar[str] = "file"
    Config: ClassVar[type[SourceConfig]] = FileConfig
    Position: ClassVar[type[SourcePosition]] = FilePosition

    def __init__(self, config: FileConfig) -> None:
        """Does no I/O yet."""
        self._config = config
        self._closed = False

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The configured field."""
        return () if self._config.id_field is None else (self._config.id_field,)

    def check(self) -> None:
        """Prove that every file is there, readable and of a known format."""
        for file in self._files():
            self._peek(file)

    def discover(self) -> list[DiscoveredStream]:
        """One stream, named after the first file; types are guessed from its first events."""
        first = self._files()[0]
        rows = tuple(row for row in map(_object, self._peek(first)) if row is not None)
        return [DiscoveredStream(first.path.name.split(".")[0], _types(rows), rows)]

    async def read(self, after: FilePosition | None) -> AsyncIterator[Batch]:
        """Batches of events; ends after the last file, unless `follow` is set.

        Raises ConfigError when a file is missing, unreadable, damaged, or shorter than the position says.
        """
        files = await asyncio.to_thread(self._files)
        first, offset = _start(files, after)
        for index in range(first, len(files)):
            async with aclosing(self._read_file(files[index], offset if index == first else 0)) as batches:
                async for batch in batches:
                    yield batch

    async def close(self) -> None:
        """Stop following. The open file is closed when its reader ends or is closed."""
        self._closed = True

    async def _read_file(self, file: _File, offset: int) -> AsyncGenerator[Batch, None]:
        config = self._config
        with _failures(file.path), Lines(file.path, offset, wait_for_newline=config.follow) as lines:
            reader = await asyncio.to_thread(self._reader, file, lines, offset)
            end, silent_since = offset, time.monotonic()
            while not self._closed:
                events, end = await asyncio.to_thread(reader.batch, config.batch_events)
                if events or time.monotonic() - silent_since >= HEARTBEAT_SECONDS:
                    yield events, FilePosition(file=file.key, offset=end)
                    silent_since = time.monotonic()
                elif not config.follow:
                    return
                else:
                    await asyncio.to_thread(lines.require_not_shorter)
                    await asyncio.sleep(config.poll_seconds)

    def _peek(self, file: _File) -> list[SourceEvent]:
        with _failures(file.path), Lines(file.path) as lines:
            return self._reader(file, lines, 0).batch(SAMPLE)[0]

    def _reader(self, file: _File, lines: Lines, offset: int) -> NdjsonReader | CsvReader:
        """A reader of `lines`, which start at `offset`; a CSV file's header is read from its beginning."""
        config = self._config
        if _format(config.format, file.path) == "ndjson":
            return NdjsonReader(file.key, lines, config.id_field)
        rows = Rows(lines)
        if offset:
            with Lines(file.path) as beginning:
                header = read_header(Rows(beginning), file.key)
        else:
            header = read_header(rows, file.key)
        require_columns(header, [*config.columns, *([config.id_field] if config.id_field else [])], file.key)
        return CsvReader(file.key, rows, header, config.columns, config.id_field)

    def _files(self) -> list[_File]:
        """What `path` names, sorted. Raises ConfigError when that is nothing."""
        path = Path(self._config.path).absolute()
        if path.is_dir():
            inside = [one for one in path.iterdir() if one.is_file() and _known(one)]
            files = [_File(one, _key(one.relative_to(path))) for one in inside]
        elif glob.has_magic(str(path)):
            root = path
            while glob.has_magic(str(root)):
                root = root.parent
            found = root.glob(str(path.relative_to(root)))
            files = [_File(one, _key(one.relative_to(root))) for one in found if one.is_file()]
        else:
            files = [_File(path, _key(Path(path.name)))]
        if not files:
            raise ConfigError(f"{path} holds no .ndjson, .jsonl, .json or .csv file (also .gz): set `path` right.")
        if self._config.follow and (len(files) > 1 or path.suffix == ".gz"):
            raise ConfigError("`follow` needs one plain file: name it in `path`, or leave `follow` out.")
        return sorted(files)


class _File(NamedTuple):
    """A file, and the name by which ids and positions know it."""

    path: Path
    key: str


def _key(path: Path) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")


def _start(files: list[_File], after: FilePosition | None) -> tuple[int, int]:
    """The index of the file and the offset in it where reading goes on."""
    if after is None:
        return 0, 0
    for index, file in enumerate(files):
        if file.key == after.file:
            return index, after.offset
    raise ConfigError(f"{after.file}, where reading stopped, is gone: put it back, or register a new connector.")


def _format(wanted: Format, path: Path) -> Literal["ndjson", "csv"]:
    if wanted != "auto":
        return wanted
    found = _known(path)
    if found is None:
        raise ConfigError(f"Cannot tell the format of {path.name} by its name: set `format` to ndjson or csv.")
    return found


def _known(path: Path) -> Literal["ndjson", "csv"] | None:
    return _SUFFIXES.get(Path(path.name.removesuffix(".gz")).suffix)


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{path} does not exist: set `path` right.") from None
    except PermissionError:
        raise ConfigError(f"{path} may not be read by this user: grant the right.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise ConfigError(f"{path} is damaged or cut off: its gzip content does not end well.") from None
    except OSError as error:
        raise Retryable(f"{path} could not be read ({os.strerror(error.errno or 0)}); trying again.") from None


def _object(event: SourceEvent) -> dict[str, Any] | None:
    try:
        row = msgspec.json.decode(event.data)
    except Exception:  # hostile data raises outside msgspec's own errors too
        return None
    return row if isinstance(row, dict) and event.refused is None else None


def _types(rows: tuple[dict[str, Any], ...]) -> dict[str, str]:
    """Contract types guessed from samples: the type of the first value that is not null; string where there is none."""
    kinds = {bool: "bool", int: "int64", float: "float64", str: "string", list: "json", dict: "json"}
    found: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            if value is not None and found.get(name) in (None, "int64"):
                found[name] = kinds[type(value)]
    return {name: found.get(name, "string") for row in rows for name in row}
