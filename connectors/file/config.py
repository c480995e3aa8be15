"""What the file source is told, and how it says where it is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from clearwell.errors import ConfigError
from clearwell.source import PATH, SECRET, SourceConfig, SourcePosition

Form = Literal["ndjson", "csv", "parquet"]
_SUFFIXES: dict[str, Form] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PACKED = (".gz", ".zst", ".zstd")
KNOWN = ".ndjson, .jsonl, .json, .csv or .parquet file (the text ones also .gz, .zst)"


class FileConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the events are and how to read them. Gzip and zstd are unpacked, whatever the name says.

    path: a file, a folder, or a pattern such as "in/*.ndjson.gz"; also as a URL that fsspec reads, such as
    `s3://bucket/folder` or `https://host/events.ndjson`. Files are read in the order of their names.
    format: "auto" goes by the name's ending.
    id_field: the field whose value is the event's id; without it, or where an event lacks it, the id is
    "<file name>#<byte offset>", or of Parquet "<file name>#<row>".
    columns: types of CSV columns (a CSV value is a string otherwise, and null when empty).
    follow: keep reading what is appended to the (one, plain, local) file.
    watch: keep looking for new files in the folder or pattern. One is read once its size stays the same from one look
    to the next, and never again, even when it changes; so write it elsewhere and rename it. Of those that are new, the
    name that sorts first comes first. A late file may sort before finished ones as long as these are not more than 500;
    then names must grow.
    poll_seconds: how often to look for what is new.
    batch_events: events taken together, at most.
    storage_options: what the URL's fsspec file system is told, such as `endpoint_url` and `key` for `s3://`.
    storage_secrets: options that are secrets, such as `secret`; they are laid over `storage_options`.
    """

    path: Annotated[str, PATH]
    format: Literal["auto"] | Form = "auto"
    id_field: str | None = None
    columns: dict[str, Literal["string", "int", "float", "bool"]] = {}
    follow: bool = False
    watch: bool = False
    poll_seconds: Annotated[float, msgspec.Meta(gt=0)] = 0.5
    batch_events: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 5_000
    storage_options: dict[str, Any] = {}
    storage_secrets: dict[str, Annotated[str, SECRET]] = {}

    def __repr__(self) -> str:  # invariant 10: a URL and the options may hold secrets
        return f"FileConfig(format={self.format!r}, follow={self.follow!r}, watch={self.watch!r})"


class FilePosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How far `file` is read.

    `offset` counts the bytes of its unpacked content, or the rows of a Parquet file. `done` and `before` are of a
    watched folder: hashes of the names of finished files, and the name before which all are finished.
    """

    file: str
    offset: Annotated[int, msgspec.Meta(ge=0)]
    done: list[str] | None = None
    before: str = ""


def form_of(wanted: Literal["auto"] | Form, name: str) -> Form:
    """The format of the file called `name`. Raises ConfigError when its ending says none."""
    if wanted != "auto":
        return wanted
    found = known_form(name)
    if found is None:
        raise ConfigError(f"Cannot tell the format of {name} by its name: set `format` to ndjson, csv or parquet.")
    return found


def known_form(name: str) -> Form | None:
    """What a name's ending says."""
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return next((form for suffix, form in _SUFFIXES.items() if name.endswith(suffix)), None)
