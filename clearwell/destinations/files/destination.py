"""Files: each clean event once, as NDJSON or Parquet, in folders by event date, at a path or any fsspec URL.

A file appears whole or not at all, and its name says which raw events it holds (`index.py`). Positions are kept
in the platform's Postgres, moved after the files are there; whoever takes over after a crash finds what was written
before by the names, so that no event is there twice. A batch becomes one file for each of its dates: a deliverer joins
what waits, but a slow stream makes many small files; where these should be joined later, use `lake`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Self

import msgspec
from msgspec import Meta

from clearwell.contract.model import CleanSchema, Type
from clearwell.contract.route_options import RouteOptions
from clearwell.destinations.files.content import Compression, FileFormat, Format
from clearwell.destinations.files.index import EventFile, Index, piece_of
from clearwell.destinations.files.options import FilesOptions
from clearwell.destinations.files.store import FolderStore
from clearwell.destinations.platform_positions import PlatformPositions
from clearwell.destinations.protocol import Accounts, Claim, CleanBatch, DestinationConfig, DestinationContext, Start
from clearwell.destinations.shape import IDENTITY, NAME_RULE, check_schema, is_name
from clearwell.errors import ConfigError
from clearwell.pipeline.arrow import arrow_type
from clearwell.source import PATH, StorageSecrets

DATE = "clearwell_date"
"""Folders are <DATE>=YYYY-MM-DD, the UTC date of the event time: what readers know as Hive partitions."""

NO_DATE = "__HIVE_DEFAULT_PARTITION__"
"""How Hive's readers know that a partition's value is null."""

NOTES = "_clearwell"
"""A folder beside those of the streams: which types the fields in each have. Some readers take all that is in one."""


class FilesConfig(DestinationConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where files are written, and how.

    One route at a time may write a stream's folder. Every event has `_raw_topic`, `_raw_partition` and
    `_raw_offset`.
    """

    url: Annotated[
        str,
        PATH,
        Meta(
            description="a folder, or a URL that fsspec writes to, such as s3://bucket/path, gs://… or az://…; each "
            "stream has a folder in it."
        ),
    ]
    format: Annotated[Format, Meta(description='"parquet" or "ndjson", a line of JSON an event.')] = "parquet"
    compression: Annotated[Compression, Meta(description='"zstd", "gzip" or "none".')] = "zstd"
    storage_options: Annotated[
        dict[str, Any], Meta(description="what the store's client is told, such as `endpoint_url` and `key` for s3://.")
    ] = {}
    storage_secrets: StorageSecrets = {}

    def __repr__(self) -> str:  # invariant 10: a URL and the options may hold secrets
        return f"FilesConfig(format={self.format!r}, compression={self.compression!r})"


class FilesDestination:
    """One folder; see `clearwell.destinations.protocol.Destination` for what each method promises."""

    kind: ClassVar[str] = "files"
    Config: ClassVar[type[DestinationConfig]] = FilesConfig
    Options: ClassVar[type[RouteOptions]] = FilesOptions
    keeps_history: ClassVar[bool] = True
    registered: ClassVar[bool] = True
    redelivers: ClassVar[bool] = False

    def __init__(self, config: FilesConfig, schema: CleanSchema, folder: str, positions: str, group: str) -> None:
        """`positions` is the URL of the platform's Postgres. Raises ConfigError when a name can't be."""
        if not is_name(folder):
            raise ConfigError(f'"{folder}" can\'t be the name of a folder: use {NAME_RULE}.')
        check_schema(schema, (*IDENTITY, DATE))
        self._schema, self._group = schema, group
        self._time = [field.name for field in schema.fields].index(schema.event_time)
        self._content = FileFormat(config.format, config.compression)
        options, root = config.storage_options | config.storage_secrets, config.url.rstrip("/")
        self._store, self._notes = FolderStore(f"{root}/{folder}", options), FolderStore(f"{root}/{NOTES}", options)
        self._note = f"{folder}.json"
        self._index = Index(self._store)
        self._positions = PlatformPositions(positions, group)

    @classmethod
    def of(cls, context: DestinationContext) -> Self:
        """A registered store."""
        schema = context.schema
        folder = context.options.folder or f"{schema.stream}_v{schema.version}"
        return cls(context.config, schema, folder, context.settings.postgres, context.group)

    def open(self) -> None:
        """Note the types of the fields. Raises ConfigError when there are files in which a field has another one."""
        noted = self._notes.get(self._note)
        known: dict[str, str] = {} if noted is None else msgspec.json.decode(noted, type=dict[str, str])
        declared = {field.name: _spelled(field) for field in self._schema.fields}
        for name, kind in declared.items():
            if known.get(name, kind) != kind:
                raise ConfigError(
                    f'"{name}" is {known[name]} in the files of {self._store.shown} but the contract '
                    f"{self._schema.stream} v{self._schema.version} makes it {kind}: name another folder in the route."
                )
        if known | declared != known:
            self._notes.put(self._note, msgspec.json.encode(known | declared))
        self._positions.create()

    def reach(self) -> None:
        """Write a note, so that rights are proven too."""
        self._notes.put("reached.json", b"{}")

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """Waits for a write of the previous owner, then goes on from its end."""
        claim = self._positions.claim(topic_id, partition, generation)
        self._index.forget()
        return claim

    def write(self, batch: CleanBatch) -> None:
        """Files first, then the position; nobody else can claim the partition in between."""
        with self._positions.moving(batch) as due:
            pieces = list(self._put(batch)) if due else []
        self._index.add(pieces)

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """Empty when nothing was ever delivered."""
        return self._positions.accounts(topic_id)

    def rewind(self, topic_id: str, starts: Sequence[Start]) -> None:
        """What the files hold already is not written again."""
        self._positions.rewind(topic_id, starts)

    def row_count(self) -> int:
        """How many events the files hold, as their names say."""
        return self._index.count()

    def close(self) -> None:
        """Let go of the store and of Postgres."""
        self._store.close()
        self._notes.close()
        self._positions.close()

    def _put(self, batch: CleanBatch) -> Iterator[EventFile]:
        files: dict[tuple[str, str], list[int]] = {}
        for index in self._index.absent(batch):
            time = batch.rows[index][self._time]
            date = NO_DATE if time is None else time.date().isoformat()
            files.setdefault((date, batch.raw_topics[index]), []).append(index)
        # All are encoded before the first is written: a row that is refused leaves nothing behind.
        encoded = [
            (date, indexes, self._content.encode(self._schema, batch, indexes)) for (date, _), indexes in files.items()
        ]
        for date, indexes, data in encoded:
            piece = piece_of(f"{DATE}={date}", batch, indexes, self._group, self._content.ending)
            self._store.put(piece.path, data)
            yield piece


def _spelled(field: Any) -> str:
    return Type.JSON.value if field.clean_type is Type.JSON else str(arrow_type(field))
