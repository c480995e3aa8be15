"""One read of `postgres_cdc`, in a thread: the snapshot under the slot's place, then the stream from that place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import tzinfo
from typing import Annotated

import msgspec

from clearwell.errors import ConfigError
from clearwell.source import HEARTBEAT_SECONDS, SourceEvent, SourcePosition
from connectors.postgres_cdc.column_types import Types
from connectors.postgres_cdc.decode import Decoder, lsn_number, lsn_text
from connectors.postgres_cdc.events import Write
from connectors.postgres_cdc.server import (
    Connection,
    ReplicationServer,
    TableInfo,
    find_table,
    look_up_types,
    require_logical,
)
from connectors.postgres_cdc.slot import find_slot, find_tables, publish, require_slot
from connectors.postgres_cdc.snapshot import Exported, early_time, snapshot
from connectors.postgres_cdc.stream import Stream
from connectors.reader_thread import CountedBatch, Every, ReaderThread

BATCH_BYTES = 4_000_000
LINGER_SECONDS, PAUSE_SECONDS = 0.05, 0.01
"""A batch waits so long for more events in all, and for the next one."""

Lsn = Annotated[str, msgspec.Meta(pattern="^[0-9A-F]{1,8}/[0-9A-F]{1,8}$")]


class TablesPosition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a snapshot is: tables before `table` are read, and of it the rows up to `key` (none yet: empty)."""

    table: str
    key: list[str]


class PostgresCdcPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`lsn`: all that committed before it was read. `snapshot`: where the snapshot is, when it is not done.

    `transaction`, `events`: of the transaction that commits at that place, so many events were read.
    """

    lsn: Lsn
    snapshot: TablesPosition | None = None
    transaction: Lsn | None = None
    events: Annotated[int, msgspec.Meta(ge=0)] = 0


@dataclass(frozen=True, slots=True)
class ReplicationReadPlan:
    """What to read, from the configuration. `size`: events of a batch. `taken`: names that no column may have."""

    tables: tuple[str, ...]
    slot: str
    publication: str
    create: bool
    snapshot: bool
    write: Write
    taken: frozenset[str]
    zone: tzinfo
    size: int


class ReplicationReader:
    """Runs in a thread. `flushed` may be set from another: events before that place are durable."""

    def __init__(self, server: ReplicationServer, plan: ReplicationReadPlan) -> None:
        """Does no I/O."""
        self.flushed = 0
        self._server = server
        self._plan = plan
        self._infos: list[TableInfo] = []
        self._types = Types(plan.zone)

    def run(self, thread: ReaderThread[CountedBatch], after: PostgresCdcPosition | None) -> None:
        """Read until `thread` is told to stop."""
        with ExitStack() as held:
            position, exported = self._begin(thread, after, held)
            if position.snapshot is not None:
                position = self._snapshot(thread, position, position.snapshot, exported)
        self._follow(thread, position)

    def _begin(
        self, thread: ReaderThread[CountedBatch], after: PostgresCdcPosition | None, held: ExitStack
    ) -> tuple[PostgresCdcPosition, Exported | None]:
        """Where to begin, and the snapshot of just that place when the slot is made now (`held` keeps it)."""
        plan, server = self._plan, self._server.place
        with self._server.session("look at the replication slot") as connection:
            require_logical(connection, server)
            slot = find_slot(connection, plan.slot, server)
            if after is not None:
                require_slot(slot, plan.slot, server, lsn_number(after.lsn))
            self._infos = find_tables(connection, plan.publication, plan.tables, plan.create and slot is None)
            self._types = learned(connection, self._infos, plan.zone)
            if after is not None:
                return after, None
            if slot is not None:  # made by somebody else, or by a read that ended before its position was saved
                return self._first(thread, slot.confirmed), None
            if not plan.create:
                raise ConfigError(f"There is no replication slot {plan.slot}: create it, or set `create: true`.")
            publish(connection, plan.publication, plan.slot, self._infos)
            early = early_time(connection)
        stream = held.enter_context(closing(Stream(self._server)))
        lsn, name = stream.create_slot(plan.slot, thread)
        return self._first(thread, lsn), Exported(name, early)

    def _first(self, thread: ReaderThread[CountedBatch], lsn: int) -> PostgresCdcPosition:
        beginning = TablesPosition(self._plan.tables[0], []) if self._plan.snapshot else None
        position = PostgresCdcPosition(lsn=lsn_text(lsn), snapshot=beginning)
        thread.offer((([], position), 0))
        return position

    def _snapshot(
        self,
        thread: ReaderThread[CountedBatch],
        position: PostgresCdcPosition,
        reached: TablesPosition,
        exported: Exported | None,
    ) -> PostgresCdcPosition:
        """Read the tables from `reached` on.

        Nothing is lost when this is not the exported snapshot but a later one: the stream begins at the slot's place,
        before either, so what a row became since is in the stream, whether or not the snapshot shows it already.
        """
        infos = {info.name: info for info in self._infos}
        names = list(self._plan.tables)
        if reached.table not in infos:
            raise ConfigError(
                f"The snapshot stopped in {reached.table}, which is not among `tables` any more: reset it."
            )
        names = names[names.index(reached.table) :]
        key: Sequence[str] | None = reached.key
        with snapshot(self._server, position.lsn, exported, self._plan.write, self._plan.taken) as seen:
            for index, name in enumerate(names):
                while key is not None:
                    events, key, rows = seen.page(infos[name], self._types, key, self._plan.size)
                    after = [TablesPosition(name, key)] if key is not None else []
                    left = after + [TablesPosition(other, []) for other in names[index + 1 :]]
                    position = PostgresCdcPosition(lsn=position.lsn, snapshot=left[0] if left else None)
                    thread.offer(((events, position), rows))
                key = []
        return position

    def _follow(self, thread: ReaderThread[CountedBatch], position: PostgresCdcPosition) -> None:
        start = lsn_number(position.lsn)
        skip = (lsn_number(position.transaction), position.events) if position.transaction else (0, 0)
        decoder = Decoder(self._types, self._plan.write, self._plan.taken, self._look_up, self._key, start, skip)
        with closing(Stream(self._server)) as stream:
            stream.start(self._plan.slot, self._plan.publication, start, thread)
            try:
                with self._server.failures("read the replication slot"):
                    self._pass_on(thread, stream, decoder)
            finally:
                stream.say_goodbye(self.flushed)

    def _pass_on(self, thread: ReaderThread[CountedBatch], stream: Stream, decoder: Decoder) -> None:
        def look_after() -> None:
            stream.flushed = self.flushed
            stream.look_after()

        beat = Every(HEARTBEAT_SECONDS / 2)
        while True:
            before = decoder.changes
            events = self._gather(stream, decoder)
            changes = decoder.changes - before
            if events or changes or beat.due():
                thread.offer(((events, _place(decoder, stream)), changes), look_after)
                beat.again()
                if not events:
                    stream.tell(ask=True)
            else:
                thread.require_wanted()
                stream.wait(0.2)
            look_after()

    def _gather(self, stream: Stream, decoder: Decoder) -> list[SourceEvent]:
        """What has come, as events; waits a moment for more, once there are any."""
        events: list[SourceEvent] = []
        size, most = 0, self._plan.size
        until = time.monotonic() + LINGER_SECONDS
        feed, message = decoder.feed, stream.message
        while len(events) < most and size < BATCH_BYTES:
            data = message()
            if data is not None:
                size += len(data)
                feed(data, events)
            elif not events or time.monotonic() > until or not stream.wait(PAUSE_SECONDS):
                break
        return events

    def _look_up(self, oids: Sequence[int]) -> None:
        with self._server.session("look up types") as connection:
            for looked_up in look_up_types(connection, oids):
                self._types.learn(*looked_up)

    def _key(self, name: str) -> Sequence[str]:
        with self._server.session("look at a table") as connection:
            try:
                return find_table(connection, name).key
            except ConfigError:  # dropped, or another by now: what is told of is older
                return ()


def _place(decoder: Decoder, stream: Stream) -> PostgresCdcPosition:
    """After the last event decoded; while no transaction is under way also after all that brought none."""
    if decoder.transaction:
        lsn, transaction = lsn_text(decoder.done), lsn_text(decoder.transaction)
        return PostgresCdcPosition(lsn=lsn, transaction=transaction, events=decoder.index)
    return PostgresCdcPosition(lsn=lsn_text(max(decoder.done, stream.received)))


def learned(connection: Connection, infos: Sequence[TableInfo], zone: tzinfo) -> Types:
    """The types of the tables' columns."""
    types = Types(zone)
    unknown = types.unknown([kind for info in infos for kind in info.kinds])
    for looked_up in look_up_types(connection, unknown) if unknown else ():
        types.learn(*looked_up)
    return types
