"""What the file source is told, and how it says where it is."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta

from clearwell.errors import ConfigError
from clearwell.source import PATH, BatchEvents, SourceConfig, SourcePosition, StorageSecrets
from connectors.file.content import is_text_encoding

Form = Literal["ndjson", "json", "csv", "parquet"]
_SUFFIXES: dict[str, Form] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PACKED = (".gz", ".zst", ".zstd")
KNOWN = ".ndjson, .jsonl, .json, .csv or .parquet file (the text ones also .gz, .zst)"


class FileConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the events are and how to read them. Gzip and zstd are unpacked, whatever the name says."""

    path: Annotated[
        str,
        PATH,
        Meta(
            description='a file, a folder, or a pattern such as "in/*.ndjson.gz"; also as a URL that fsspec reads, '
            "such as `s3://bucket/folder` or `https://host/events.ndjson`. Files are read in the order "
            "of their names. Those of a folder whose format can't be told, and folders inside it, are "
            "passed over; the log says so, and `connector list` how many."
        ),
    ]
    format: Annotated[
        Literal["auto"] | Form,
        Meta(
            description='"auto" goes by the name\'s ending, in small or capital letters. "ndjson" is an event a '
            'line; "json" is that too, or an array whose elements are the events, or values that span '
            "lines."
        ),
    ] = "auto"
    id_field: Annotated[
        str | None,
        Meta(
            description="the field whose value is the event's id; without it, or where an event lacks it, the id "
            'is "<file name>#<byte offset>", or of Parquet "<file name>#<row>".'
        ),
    ] = None
    columns: Annotated[
        dict[str, Literal["string", "int", "float", "bool"]],
        Meta(
            description="types of CSV columns (a CSV value is a string otherwise, and null when empty); a value that "
            'is not of the type stays a string, and the cleaner rejects it. Of Parquet, "int" writes '
            'unsigned 64-bit integers as numbers, and "float" decimals too, which are text otherwise, so '
            "that no digit is lost on the way."
        ),
    ] = {}
    delimiter: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=1,
                description="the character between the columns of CSV, unless given a comma.",
            ),
        ]
        | None
    ) = None
    quote: Annotated[
        str,
        Meta(
            max_length=1,
            description='the character around values of CSV that hold delimiters, quotes or line ends; "" where none '
            "does that.",
        ),
    ] = '"'
    encoding: Annotated[
        str,
        Meta(
            description='of text files, such as "latin-1" or "utf-16"; what has the byte order mark of UTF-16 needs '
            "none."
        ),
    ] = "utf-8"
    time_zone: Annotated[
        str | None,
        Meta(
            description='that of Parquet\'s times without a zone, such as "Europe/Paris"; they become timestamps. '
            "Without it they stay texts without a zone, and the step parse_time can read them."
        ),
    ] = None
    follow: Annotated[
        bool,
        Meta(
            description="keep reading what is appended to the (one, plain, local) file. A file that takes its place "
            "(rotation) is read next, and one that was cut is read from its beginning; the log says so. "
            'Ids then begin with "<file name>~1", ….'
        ),
    ] = False
    watch: Annotated[
        bool,
        Meta(
            description="keep looking for new files in the folder or pattern. One is read when it has settled, and "
            "what is appended to it later too; one that can't be read is passed over until it changes; "
            "the log and `connector list` say so. Of those that are new, the name that sorts first comes "
            "first. A late file may sort before finished ones as long as these are not more than 500; "
            "then names must grow."
        ),
    ] = False
    settle_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="how long a watched file must not have changed before it is read to its end; a last line "
            "that is not ended is waited for five times as long, unless it is a whole JSON object.",
        ),
    ] = 2.0
    poll_seconds: Annotated[float, Meta(gt=0, description="how often to look for what is new.")] = 0.5
    batch_events: BatchEvents = 5_000
    storage_options: Annotated[
        dict[str, Any],
        Meta(description="what the URL's fsspec file system is told, such as `endpoint_url` and `key` for `s3://`."),
    ] = {}
    storage_secrets: StorageSecrets = {}

    def __repr__(self) -> str:  # invariant 10: a URL and the options may hold secrets
        return f"FileConfig(format={self.format!r}, follow={self.follow!r}, watch={self.watch!r})"


class FilePosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How far `file` is read.

    `offset` counts the bytes of its content, unpacked and in UTF-8, or the rows of a Parquet file. `done` and `before`
    are of a watched folder: hashes of the names of finished files with their sizes, and the name before which all are
    finished. `turn`, `mark` and `inode` are of a followed file: how many files were in its place before, and what tells
    it from another.
    """

    file: str
    offset: Annotated[int, Meta(ge=0)]
    done: list[str] | None = None
    before: str = ""
    turn: int = 0
    mark: str = ""
    inode: int = 0


def require_consistent(config: FileConfig) -> None:
    """Raises ConfigError when the options contradict each other, or name what there is not."""
    if config.follow and config.watch:
        raise ConfigError("`follow` is for what is appended to one file, `watch` for new files: set one of them.")
    if not is_text_encoding(config.encoding):
        raise ConfigError("`encoding` is none that is known here: use a name such as utf-8, latin-1 or utf-16.")
    if config.quote and config.quote == (config.delimiter or ","):
        raise ConfigError("`quote` and `delimiter` are the same: set one of them right.")
    for name, value in (("delimiter", config.delimiter), ("quote", config.quote)):
        if value in ("\r", "\n") or (value and not value.isascii()):
            raise ConfigError(f"`{name}` must be an ASCII character, and no line end.")
    zone_of(config.time_zone)


def zone_of(name: str | None) -> tzinfo | None:
    """The time zone called `name`. Raises ConfigError when there is none."""
    if name is None or name == "UTC":
        return UTC if name else None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f'There is no time zone "{name[:80]}": use a name such as Europe/Berlin.') from None


def require_used(config: FileConfig, forms: set[Form]) -> None:
    """Raises ConfigError when an option is of use for none of these formats: nothing that is told passes unheard."""
    used: dict[str, tuple[bool, set[Form]]] = {
        "columns": (bool(config.columns), {"csv", "parquet"}),
        "delimiter": (config.delimiter is not None, {"csv"}),
        "quote": (config.quote != '"', {"csv"}),
        "time_zone": (config.time_zone is not None, {"parquet"}),
        "encoding": (config.encoding != "utf-8", {"csv", "json", "ndjson"}),
    }
    for option, (told, needed) in used.items():
        if told and forms and not needed & forms:
            kinds = " and ".join(sorted(needed))
            raise ConfigError(f"`{option}` is for {kinds}, and there is no such file: leave it out.")


def form_of(form: Literal["auto"] | Form, name: str) -> Form:
    """The format of the file called `name`. Raises ConfigError when its ending says none."""
    if form != "auto":
        return form
    known = known_form(name)
    if known is None:
        raise ConfigError(
            f"Cannot tell the format of {name} by its name: set `format` to ndjson, json, csv or parquet."
        )
    return known


def known_form(name: str) -> Form | None:
    """What a name's ending says."""
    name = name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return next((form for suffix, form in _SUFFIXES.items() if name.endswith(suffix)), None)
