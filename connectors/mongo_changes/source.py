"""Changes of MongoDB collections, by change streams: the documents as they are, then every change."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from bson import Timestamp, json_util
from msgspec import Meta

from clearwell.errors import ConfigError
from clearwell.source import SECRET_IN_URL, Batch, BatchEvents, Count, DiscoveredStream, SourceConfig, SourcePosition
from connectors.mongo_changes.extended_json import Dialect, Envelope, Events
from connectors.mongo_changes.read import ChangesReader, MongoChangesPosition, watch
from connectors.mongo_changes.server import ChangesReadPlan, collections, now, open_database
from connectors.reader_thread import CountedBatch, ReaderThread
from connectors.samples import field_types, json_objects

SAMPLE = 200
_ADDED = {"_op": "string", "_ns": "string", "_cluster_time": "timestamp", "_deleted": "bool", "_document_gone": "bool"}


class MongoChangesConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which collection to follow.

    Snapshot and stream leave no gap: the stream begins at a time taken before the snapshot, so changes made during
    it may come twice, and the last one is what the document is. `_cluster_time` orders them (its counter is written
    as microseconds); that of an `r` document is the beginning's. An event's id is its cluster time and its number
    among the changes of that time; an `r` document's is made of its _id and content.
    """

    url: Annotated[
        str,
        SECRET_IN_URL,
        Meta(
            description="`mongodb://reader:${env:CLEARWELL_SECRET_DB}@host:27017/database` of a replica set; the "
            "user needs the role read."
        ),
    ]
    database: Annotated[str | None, Meta(description="when the URL names none, or another.")] = None
    collection: Annotated[str | None, Meta(description="its name; left out, all of the database.")] = None
    pipeline: Annotated[
        list[dict[str, Any]],
        Meta(
            description="stages that choose or change the events, as in `watch`, in Extended JSON, such as `{$match: "
            "{operationType: insert}}`. They see change events, do not touch the snapshot, and must keep "
            "`_id`, `clusterTime` and `operationType`."
        ),
    ] = []
    snapshot: Annotated[
        bool, Meta(description="begin with the documents that are there; else only changes from then on are read.")
    ] = True
    start_at: Annotated[
        datetime | None,
        Meta(description="begin with the changes of this time instead (ISO 8601); needs `snapshot: false`."),
    ] = None
    full_document: Annotated[
        Literal["updateLookup", "whenAvailable", "required", "default"],
        Meta(
            description='what an update brings: "updateLookup", the document as it is when the event is read (newer, '
            'or gone: then its key with `_document_gone`); "whenAvailable" or "required", as it was, for '
            'collections with changeStreamPreAndPostImages; "default", nothing but the key in a `row`.'
        ),
    ] = "updateLookup"
    envelope: Annotated[
        Envelope,
        Meta(
            description='"row", the document as a flat object and beside its fields `_op` (c created, u updated or '
            "replaced, d deleted, r read by the snapshot; drop, rename, invalidate … by name), `_ns`, "
            '`_cluster_time`, for deleted ones `_deleted`; or "change", the server\'s change event '
            "whole."
        ),
    ] = "row"
    json: Annotated[
        Dialect,
        Meta(
            description='"plain", ObjectIds as their hex digits, dates in ISO 8601, decimals as text with all '
            "digits, binary in base64, UUIDs as text, NaN and the infinities as such strings, what "
            'JSON has no word for as Extended JSON; or "relaxed" or "canonical" Extended JSON '
            'throughout. What can\'t be written becomes a dead letter that says so, with "row" also a '
            "document with a field of a name that is added."
        ),
    ] = "plain"
    batch_events: BatchEvents = 1_000

    def __repr__(self) -> str:  # invariant 10
        return f"MongoChangesConfig(database={self.database!r}, collection={self.collection!r})"


class MongoChangesSource:
    """Follows a collection or a database."""

    name: ClassVar[str] = "mongo_changes"
    Config: ClassVar[type[SourceConfig]] = MongoChangesConfig
    Position: ClassVar[type[SourcePosition]] = MongoChangesPosition

    def __init__(self, config: MongoChangesConfig) -> None:
        """Does no I/O yet. Raises ConfigError when options contradict each other."""
        if config.start_at is not None and config.snapshot:
            raise ConfigError("`start_at` is for changes alone: set `snapshot: false` beside it.")
        if config.start_at is not None and config.start_at.tzinfo is None:
            raise ConfigError("`start_at` needs a time zone, such as 2026-01-01T00:00:00Z.")
        self._plan = ChangesReadPlan(
            config.url,
            config.database,
            config.collection,
            _stages(config.pipeline),
            config.snapshot,
            None if config.start_at is None else Timestamp(int(config.start_at.timestamp()), 1),
            config.full_document,
            config.batch_events,
        )
        self._config = config
        self._flat = config.envelope == "row"
        self._events = Events(config.json, config.envelope)
        self._thread: ReaderThread[CountedBatch] | None = None
        self._closed = False
        self._items = 0

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The _id, which ids of a snapshot's documents hold."""
        return ("_id",) if self._config.snapshot else ()

    def check(self) -> None:
        """Prove that the change stream can be opened and the documents be read."""
        plan = self._plan
        with open_database(plan, "read changes") as database:
            time = now(database, plan.place())
            with watch(plan, database, MongoChangesPosition(start=(time.time, time.inc))) as stream:
                stream.try_next()
            if plan.snapshot:
                for name in collections(database, plan.collection)[:1]:
                    database[name].find_one()

    def discover(self) -> list[DiscoveredStream]:
        """A stream for each collection, with types guessed from its first documents."""
        streams = []
        with open_database(self._plan, "read documents") as database:
            time = now(database, self._plan.place())
            for name in collections(database, self._plan.collection):
                documents = database[name].find().limit(SAMPLE)
                rows = json_objects(
                    self._events.of_document(name, database.name, document, time) for document in documents
                )
                types = field_types(rows) | (_ADDED if self._flat else {})
                streams.append(DiscoveredStream(name, types, rows))
        return streams

    async def read(self, after: MongoChangesPosition | None) -> AsyncIterator[Batch]:
        """The snapshot, then changes, for ever. Raises ConfigError when the oplog has lost what follows `after`."""
        if self._closed:
            return
        work = functools.partial(ChangesReader(self._plan, self._events).run, after=after)
        thread = self._thread = ReaderThread[CountedBatch](work, "mongo_changes")
        async with thread:
            while (taken := await thread.take()) is not None:
                batch, items = taken
                self._items += items
                yield batch

    def count(self) -> Count:
        """Documents of the snapshot, and changes that the server sent."""
        return Count(self._items)

    def between(self, old: MongoChangesPosition | None, new: MongoChangesPosition | None) -> str:
        """What can be said of tokens, which only the server can read."""
        if new is None:
            return "All documents would be read again, then the changes from now on."
        if new.snapshot is not None:
            return f"The snapshot would go on in {new.snapshot.collection}, and the stream begin at {new.start}."
        return "Changes between the two positions would be read again or skipped; only the server knows their order."

    async def close(self) -> None:
        """Stop reading."""
        self._closed = True
        if self._thread is not None:
            await self._thread.stop()


def _stages(pipeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Extended JSON as BSON's types. Raises ConfigError."""
    try:
        stages = json_util.loads(msgspec.json.encode(pipeline))
    except (ValueError, TypeError, KeyError, ArithmeticError):
        raise ConfigError("`pipeline` holds what is no Extended JSON: correct it.") from None
    if not all(isinstance(stage, dict) and len(stage) == 1 for stage in stages):
        raise ConfigError("Each stage of `pipeline` has one key, such as {$match: {operationType: insert}}.")
    return list(stages)
