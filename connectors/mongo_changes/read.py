"""One read of `mongo_changes`, in a thread: collections as they are, then the change stream from before that."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from bson import Timestamp
from pymongo.change_stream import ChangeStream
from pymongo.collection import Collection
from pymongo.database import Database

from clearwell.errors import ConfigError
from clearwell.source import HEARTBEAT_SECONDS, SourceEvent, SourcePosition
from connectors.mongo_changes.extended_json import Events, from_text, to_text
from connectors.mongo_changes.server import ChangesReadPlan, collections, now, open_database
from connectors.reader_thread import CountedBatch, Every, ReaderThread

BATCH_BYTES = 4_000_000
AWAIT_MS = 100


class CollectionsPosition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a snapshot is: collections before `collection` are read, and of it the documents up to `id`.

    `id` is canonical Extended JSON; None: none yet.
    """

    collection: str
    id: str | None = None


class MongoChangesPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`token`: the resume token of the last change read, as Extended JSON; before the first one, `start`.

    `start`: the cluster time (seconds, counter) that the stream begins at, later that of the last change; `changes`: so
    many of that time were read. `snapshot`: where the snapshot is, until it is done.
    """

    token: str | None = None
    start: tuple[int, int] | None = None
    changes: Annotated[int, msgspec.Meta(ge=0)] = 0
    snapshot: CollectionsPosition | None = None


class ChangesReader:
    """Runs in a thread."""

    def __init__(self, plan: ChangesReadPlan, events: Events) -> None:
        """Does no I/O."""
        self._plan = plan
        self._events = events

    def run(self, thread: ReaderThread[CountedBatch], after: MongoChangesPosition | None) -> None:
        """Read until `thread` is told to stop."""
        with open_database(self._plan, "read changes") as database:
            position = after if after is not None else self._first(database)
            if after is None:
                thread.offer((([], position), 0))
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
        return MongoChangesPosition(
            start=(time.time, time.inc), snapshot=CollectionsPosition(names[0]) if names else None
        )

    def _snapshot(
        self,
        thread: ReaderThread[CountedBatch],
        database: Database[dict[str, Any]],
        position: MongoChangesPosition,
        reached: CollectionsPosition,
    ) -> MongoChangesPosition:
        """Read the collections from `reached` on: each document as it is when its turn comes."""
        names = [name for name in collections(database, self._plan.collection) if name >= reached.collection]
        time = Timestamp(*position.start) if position.start else Timestamp(0, 0)
        last = reached.id if names and names[0] == reached.collection else None
        for index, name in enumerate(names):
            done = False
            while not done:
                events, last, done, items = self._page(database[name], name, last, time)
                left = [CollectionsPosition(name, last)] if not done else []
                left += [CollectionsPosition(other) for other in names[index + 1 :]]
                position = msgspec.structs.replace(position, snapshot=left[0] if left else None)
                thread.offer(((events, position), items))
            last = None
        return msgspec.structs.replace(position, snapshot=None)

    def _page(
        self, collection: Collection[dict[str, Any]], name: str, last: str | None, time: Timestamp
    ) -> tuple[list[SourceEvent], str | None, bool, int]:
        """The next documents by _id, the last one's, whether these are all, and how many documents were read for them.

        `min` goes by the index, over all types of _id; `$gt` would see those of one type alone, and lose the others.
        """
        size, count, again = 0, 0, 0
        events: list[SourceEvent] = []
        cursor = collection.find().sort("_id", 1).hint([("_id", 1)]).limit(self._plan.size + 1)
        if last is not None:
            cursor = cursor.min([("_id", _stored(last))])
        with cursor:
            for document in cursor:
                count += 1
                if count == 1 and last is not None and to_text(document["_id"]) == last:  # texts: no NaN is another
                    again = 1
                    continue
                event = self._events.of_document(name, collection.database.name, document, time)
                events.append(event)
                last = to_text(document["_id"])
                size += len(event.data)
                if size >= BATCH_BYTES:
                    return events, last, False, count - again
        return events, last, count <= self._plan.size, count - again

    def _follow(
        self, thread: ReaderThread[CountedBatch], database: Database[dict[str, Any]], position: MongoChangesPosition
    ) -> None:
        """The stream; after an invalidate event (a collection that was dropped or renamed) it is opened again."""
        beat = Every(HEARTBEAT_SECONDS / 2)
        while True:
            with watch(self._plan, database, position) as stream:
                while stream.alive:
                    events, position, items = self._gather(stream, position)
                    if events or items or beat.due():
                        thread.offer(((events, position), items))
                        beat.again()
                    thread.require_wanted()
            thread.sleep(0.1)

    def _gather(
        self, stream: ChangeStream[dict[str, Any]], position: MongoChangesPosition
    ) -> tuple[list[SourceEvent], MongoChangesPosition, int]:
        """What has come, the position after it, and how many changes the server sent."""
        events: list[SourceEvent] = []
        time, count = position.start or (0, 0), position.changes
        size, items, token = 0, 0, None
        while len(events) < self._plan.size and size < BATCH_BYTES:
            change = stream.try_next()
            if change is None:
                token = stream.resume_token  # may be later than the last event's
                break
            items += 1
            if not change.keys() >= {"clusterTime", "operationType"}:
                raise ConfigError("`pipeline` must keep `_id`, `clusterTime` and `operationType`: correct it.")
            token, stamp = change["_id"], change["clusterTime"]
            if (stamp.time, stamp.inc) != time:
                time, count = (stamp.time, stamp.inc), 0
            events.append(self._events.of_change(change, time, count))
            count += 1
            size += len(events[-1].data)
        if token is None:
            return events, position, items
        return events, MongoChangesPosition(token=to_text(token), start=time, changes=count), items


def watch(
    plan: ChangesReadPlan, database: Database[dict[str, Any]], position: MongoChangesPosition
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


def _stored(text: str) -> Any:
    try:
        return from_text(text)
    except ValueError:
        raise ConfigError("The position holds no Extended JSON where it should: set it right, or reset it.") from None
