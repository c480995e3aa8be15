"""One read of `mongo_changes`, in a thread: collections as they are, then the change stream from before that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from bson import Timestamp
from pymongo import MongoClient
from pymongo.change_stream import ChangeStream
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from clearwell.destinations.mongo_errors import translate, where
from clearwell.egress import require_allowed
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.source import HEARTBEAT_SECONDS, Batch, SourceEvent, SourcePosition
from connectors.mongo_changes_json import CODEC, Events, from_text, to_text
from connectors.reader_thread import Every, ReaderThread

BATCH_BYTES = 4_000_000
AWAIT_MS = 100
ANSWER_MS = 5_000

_LOST = (286, 280)  # ChangeStreamHistoryLost, ChangeStreamFatalError
_NO_TOKEN = (260, 50811, 40647)  # InvalidResumeToken, and older servers' own
_TOO_LARGE = (10334,)  # BSONObjectTooLarge
_BAD_PIPELINE = (2, 9, 14, 16, 72, 40324, 40415)  # BadValue, FailedToParse, TypeMismatch, invalid stage or option
_NO_REPLICA_SET = (40573,)


class SnapshotPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a snapshot is: collections before `collection` are read, and of it the documents up to `id`.

    `id` is canonical Extended JSON; None: none yet.
    """

    collection: str
    id: str | None = None


class MongoChangesPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`token`: the resume token of the last change read, as Extended JSON; before the first one, `start`.

    `start`: the cluster time (seconds, counter) that the stream begins at. `snapshot`: where the snapshot is, until it
    is done.
    """

    token: str | None = None
    start: tuple[int, int] | None = None
    snapshot: SnapshotPlace | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read, from the configuration. `collection` is None for all of the database; `size`: events of a batch."""

    url: str = field(repr=False)  # invariant 10
    database: str | None
    collection: str | None
    pipeline: Sequence[Mapping[str, Any]]
    snapshot: bool
    start: Timestamp | None
    full_document: str
    size: int

    def place(self) -> str:
        """For messages, without user and password. Raises ConfigError when the URL can't be read."""
        return where(self._with_database())[0]

    def _with_database(self) -> str:
        """The URL with some database in it, as `where` wants."""
        try:
            named = parse_uri(self.url, connect_timeout=10)["database"]
        except (PyMongoError, ValueError):
            return self.url
        if named or self.database is None:
            return self.url
        head, mark, options = self.url.partition("?")
        return f"{head.rstrip('/')}/{self.database}{mark}{options}"


@contextmanager
def opened(plan: Plan, doing: str) -> Iterator[Database[dict[str, Any]]]:
    """The database, connected, as long as the context lasts. Raises ConfigError or Retryable."""
    server = plan.place()
    with failures(server, doing):
        for host, port in parse_uri(plan.url, connect_timeout=10)["nodelist"]:
            require_allowed(host, port or 27017)
        client = MongoClient[dict[str, Any]](
            plan.url,
            appname="clearwell",
            serverSelectionTimeoutMS=ANSWER_MS,
            connectTimeoutMS=ANSWER_MS,
            server_selector=_allowed_only(),
        )
        try:
            yield client.get_database(plan.database or client.get_default_database().name, codec_options=CODEC)
        finally:
            client.close()


def _allowed_only() -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Members of the replica set that the rules of egress let us talk to; their names come from the server."""
    judged: dict[tuple[str, int], bool] = {}

    def allowed(address: tuple[str, int]) -> bool:
        if address not in judged:
            try:
                require_allowed(*address)
                judged[address] = True
            except ConfigError:
                judged[address] = False
            except Retryable:
                return False
        return judged[address]

    return lambda members: [member for member in members if allowed(member.address)]


@contextmanager
def failures(server: str, doing: str) -> Iterator[None]:
    """Turns what PyMongo raises into what a person can read."""
    try:
        yield
    except (ConfigurationError, InvalidURI):
        raise ConfigError("The MongoDB URL can't be read, or one of its options is wrong: correct it.") from None
    except OperationFailure as error:
        raise _meaning(error, server, doing) from None
    except PyMongoError as error:
        raise translate(error, server, doing) from None


def _meaning(error: OperationFailure, server: str, doing: str) -> ClearwellError:
    code = error.code or 0
    if code in _LOST:
        return ConfigError(
            f"The changes after the saved position are gone from the oplog of {server} (code {code}): they are lost. "
            "Reset the connector, so that it begins anew with a snapshot; and make the oplog larger."
        )
    if code in _NO_TOKEN:
        return ConfigError(f"{server} does not know the resume token of the position: set it right, or reset it.")
    if code in _NO_REPLICA_SET:
        return ConfigError(f"{server} is no replica set, and only those have change streams: make it one.")
    if code in _TOO_LARGE:
        return ConfigError(
            f"A change at {server} is larger than 16 MB: set `full_document: default`, or leave fields out by "
            "`pipeline`."
        )
    if code in _BAD_PIPELINE:
        return ConfigError(
            f"{server} takes no such change stream (code {code}): correct `pipeline`, or the position's token."
        )
    if code == 13:
        return ConfigError(f"{server} does not let this user {doing}: grant it the role read.")
    return translate(error, server, doing)


def now(database: Database[dict[str, Any]], server: str) -> Timestamp:
    """The server's cluster time. Raises ConfigError when it has none."""
    with database.client.start_session() as session:
        database.command("ping", session=session)
        time = session.operation_time
    if time is None:
        raise ConfigError(f"{server} is no replica set, and only those have change streams: make it one.")
    return time


class Reader:
    """Runs in a thread."""

    def __init__(self, plan: Plan, events: Events) -> None:
        """Does no I/O."""
        self._plan = plan
        self._events = events

    def run(self, thread: ReaderThread[Batch], after: MongoChangesPosition | None) -> None:
        """Read until `thread` is told to stop."""
        with opened(self._plan, "read changes") as database:
            position = after if after is not None else self._first(database)
            if after is None:
                thread.offer(([], position))
            if position.snapshot is not None:
                position = self._snapshot(thread, database, position, position.snapshot)
            self._follow(thread, database, position)

    def _first(self, database: Database[dict[str, Any]]) -> MongoChangesPosition:
        """The time before the snapshot: what it misses the stream brings, and more of what it has."""
        plan = self._plan
        time = plan.start if plan.start is not None else now(database, plan.place())
        if plan.start is None and not plan.snapshot:
            time = Timestamp(time.time, time.inc + 1)  # after the last change, not with it
        names = collections(database, plan.collection) if plan.snapshot else []
        return MongoChangesPosition(start=(time.time, time.inc), snapshot=SnapshotPlace(names[0]) if names else None)

    def _snapshot(
        self,
        thread: ReaderThread[Batch],
        database: Database[dict[str, Any]],
        position: MongoChangesPosition,
        place: SnapshotPlace,
    ) -> MongoChangesPosition:
        """Read the collections from `place` on: each document as it is when its turn comes."""
        names = [name for name in collections(database, self._plan.collection) if name >= place.collection]
        time = Timestamp(*position.start) if position.start else Timestamp(0, 0)
        last = place.id if names and names[0] == place.collection else None
        for index, name in enumerate(names):
            done = False
            while not done:
                events, last, done = self._page(database[name], name, last, time)
                left = [SnapshotPlace(name, last)] if not done else []
                left += [SnapshotPlace(other) for other in names[index + 1 :]]
                position = msgspec.structs.replace(position, snapshot=left[0] if left else None)
                thread.offer((events, position))
            last = None
        return msgspec.structs.replace(position, snapshot=None)

    def _page(
        self, collection: Collection[dict[str, Any]], name: str, last: str | None, time: Timestamp
    ) -> tuple[list[SourceEvent], str | None, bool]:
        """The next documents by _id, the last one's, and whether these are all.

        `min` goes by the index, over all types of _id; `$gt` would see those of one type alone, and lose the others.
        """
        size, count = 0, 0
        events: list[SourceEvent] = []
        cursor = collection.find().sort("_id", 1).hint([("_id", 1)]).limit(self._plan.size + 1)
        before = None
        if last is not None:
            before = _stored(last)
            cursor = cursor.min([("_id", before)])
        with cursor:
            for document in cursor:
                count += 1
                if before is not None and document["_id"] == before and count == 1:
                    continue
                event = self._events.of_document(name, collection.database.name, document, time)
                events.append(event)
                last = to_text(document["_id"])
                size += len(event.data)
                if size >= BATCH_BYTES:
                    return events, last, False
        return events, last, count <= self._plan.size

    def _follow(
        self, thread: ReaderThread[Batch], database: Database[dict[str, Any]], position: MongoChangesPosition
    ) -> None:
        """The stream; after an invalidate event (a collection that was dropped or renamed) it is opened again."""
        beat = Every(HEARTBEAT_SECONDS / 2)
        while True:
            with watch(self._plan, database, position) as stream:
                while stream.alive:
                    events, token = self._gather(stream)
                    if token is not None:
                        position = MongoChangesPosition(token=to_text(token))
                    if events or beat.due():
                        thread.offer((events, position))
                        beat.again()
                    thread.require_wanted()
            thread.sleep(0.1)

    def _gather(self, stream: ChangeStream[dict[str, Any]]) -> tuple[list[SourceEvent], Mapping[str, Any] | None]:
        """What has come, and the token after it."""
        events: list[SourceEvent] = []
        size, token = 0, None
        while len(events) < self._plan.size and size < BATCH_BYTES:
            change = stream.try_next()
            if change is None:
                return events, stream.resume_token  # may be later than the last event's
            token = change["_id"]
            events.append(self._events.of_change(change))
            size += len(events[-1].data)
        return events, token


def watch(
    plan: Plan, database: Database[dict[str, Any]], position: MongoChangesPosition
) -> ChangeStream[dict[str, Any]]:
    """The change stream from a position on.

    `startAfter`, unlike `resumeAfter`, also goes on after an invalidate event.
    """
    source = database if plan.collection is None else database[plan.collection]
    begin: dict[str, Any] = {}
    if position.token is not None:
        begin["start_after"] = _stored(position.token)
    elif position.start is not None:
        begin["start_at_operation_time"] = Timestamp(*position.start)
    return source.watch(
        list(plan.pipeline),
        full_document=None if plan.full_document == "default" else plan.full_document,
        max_await_time_ms=AWAIT_MS,
        batch_size=plan.size,
        **begin,
    )


def collections(database: Database[dict[str, Any]], only: str | None) -> list[str]:
    """The collections to read, sorted; the server's own left out."""
    if only is not None:
        return [only]
    found = database.list_collection_names(filter={"type": "collection"})
    return sorted(name for name in found if not name.startswith("system."))


def _stored(text: str) -> Any:
    try:
        return from_text(text)
    except ValueError:
        raise ConfigError("The position holds no Extended JSON where it should: set it right, or reset it.") from None
