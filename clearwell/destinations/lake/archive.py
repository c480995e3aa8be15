"""The archive: every raw event of a stream as it came, sealed whole, once, in a Delta table by ingest date.

What is in the clear is what the broker gave: where the event was, when it came, how large it was. Key, value and
headers are what a sender chose, so all of it is under the seal (invariants 6 and 9).

A row is a function of the log alone, so there is nothing to fence: whoever writes next writes the same rows. The next
offset of each partition is an application transaction in the commit of the rows; a range that it has passed is passed
over, and one that does not begin where it stands is refused (invariants 3 and 5; docs/decisions/0010-lake.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from clearwell.contract.model import ARCHIVE
from clearwell.destinations.lake.root import Root, TableLocation
from clearwell.destinations.lake.table import LakeTable
from clearwell.destinations.lake.upkeep import NO_PACE, CommitPace, TableUpkeep
from clearwell.destinations.shape import RAW_OFFSET, RAW_PARTITION, RAW_TOPIC
from clearwell.errors import Fatal
from clearwell.privacy.envelope import Sealer, draw_nonces, unseal
from clearwell.privacy.keyring import Keyring

FOLDER = ARCHIVE
"""The folder of archives, below a lake's root."""

INGESTED_AT = "ingested_at"
INGEST_DATE = "ingest_date"
SEALED = "sealed"

COLUMNS = pa.schema(
    [
        pa.field(RAW_TOPIC, pa.string()),
        pa.field(RAW_PARTITION, pa.int32()),
        pa.field(RAW_OFFSET, pa.int64()),
        pa.field(INGEST_DATE, pa.date32()),
        pa.field(INGESTED_AT, pa.timestamp("us", tz="UTC")),
        pa.field("size", pa.int64()),
        pa.field(SEALED, pa.string()),
    ]
)
"""`ingested_at` is the broker's time stamp, `ingest_date` its UTC date, `size` the bytes of the value."""

_STATISTICS = {"delta.dataSkippingNumIndexedCols": str(len(COLUMNS) - 1)}
"""Minima and maxima of what is sealed would tell nothing."""

WHOLE = "*/archive"
"""The field name in the associated data of an archived event: no field, and no destination of a dead letter."""


@dataclass(frozen=True, slots=True)
class RawRange:
    """Raw records of one partition: all there are from offset `first` up to (not including) `next_offset`."""

    topic_id: str
    partition: int
    first: int
    next_offset: int
    records: Sequence[Any]


class ArchivedEvent(msgspec.Struct, frozen=True, array_like=True):
    """A raw event as it was in Kafka; a value of None is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    def __repr__(self) -> str:  # invariant 9
        return "ArchivedEvent(***)"


class Archive:
    """The archive of one stream, written for one consumer group. Not thread-safe."""

    def __init__(
        self, location: TableLocation, stream: str, keyring: Keyring, group: str, pace: CommitPace = NO_PACE
    ) -> None:
        """Raises Fatal when the keyring has no key to seal with (invariant 6)."""
        keyring.seal_key(None)
        self._keyring = keyring
        self._stream = stream
        self._group = group
        self._sealer: Sealer | None = None
        self.table = LakeTable(location, COLUMNS, INGEST_DATE, _STATISTICS)
        self._upkeep = TableUpkeep(location, pace)

    def open(self) -> None:
        """Create the table; raises as `LakeTable.prepare` does."""
        self.table.prepare()

    def next_offset(self, topic_id: str, partition: int) -> int:
        """The first offset of a raw partition that is not archived; 0 for one that was never seen."""

        def attempt() -> int:
            self.table.refresh()
            return self.table.number(self._app(topic_id, partition)) or 0

        return self.table.insist(f"read the position of partition {partition}", attempt)

    def write(self, ranges: Sequence[RawRange]) -> None:
        """One commit for all of `ranges`; doing it again changes nothing.

        Raises Fatal when a range begins beyond the position, for events between would be in no archive (invariant 5).
        """

        def attempt() -> None:
            self.table.refresh()
            numbers: dict[str, int] = {}
            fresh = [part for raw_range in ranges if (part := self._advance(raw_range, numbers)) is not None]
            if numbers:
                self.table.commit(self._rows(fresh), numbers)
                self._upkeep.committed()

        self.table.insist(f"archive {', '.join(map(_coordinates, ranges))}", attempt)

    def close(self) -> None:
        """Let go of the table."""
        self.table.close()

    def _advance(self, raw_range: RawRange, numbers: dict[str, int]) -> RawRange | None:
        """What of `range` is not archived yet, as of `numbers`, in which the position moves."""
        app = self._app(raw_range.topic_id, raw_range.partition)
        known = numbers.get(app, self.table.number(app) or 0)
        if known >= raw_range.next_offset:
            return None
        if known < raw_range.first:
            raise Fatal(
                f"The archive {self.table.place.shown} stands at offset {known} of partition {raw_range.partition}, "
                f"before offset {raw_range.first}, which came next: somebody rewound it. Start the archiver again."
            )
        records = [record for record in raw_range.records if record.offset >= known]
        numbers[app] = raw_range.next_offset
        return RawRange(raw_range.topic_id, raw_range.partition, known, raw_range.next_offset, records)

    def _rows(self, ranges: Sequence[RawRange]) -> pa.RecordBatch:
        times = [max(record.timestamp, 0) for raw_range in ranges for record in raw_range.records]
        at = pa.array(times, pa.timestamp("ms", tz="UTC"))
        columns = [
            pa.array([raw_range.topic_id for raw_range in ranges for _ in raw_range.records], pa.string()),
            pa.array([raw_range.partition for raw_range in ranges for _ in raw_range.records], pa.int32()),
            pa.array([record.offset for raw_range in ranges for record in raw_range.records], pa.int64()),
            at.cast(pa.date32()),
            at.cast(COLUMNS.field(INGESTED_AT).type),
            pa.array([len(record.value or b"") for raw_range in ranges for record in raw_range.records], pa.int64()),
            pa.array([sealed for raw_range in ranges for sealed in self._sealed(raw_range)], pa.string()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=COLUMNS)

    def _sealed(self, raw_range: RawRange) -> Iterator[str]:
        key = self._keyring.seal_key(None)
        if self._sealer is None or self._sealer.key_id != key.id:  # rotated
            self._sealer = Sealer(key, self._stream)
        encode, seal = msgspec.msgpack.encode, self._sealer.seal
        for record, nonce in zip(raw_range.records, draw_nonces(len(raw_range.records)), strict=True):
            coordinates = _event_id(raw_range.topic_id, raw_range.partition, record.offset)
            yield seal(WHOLE, coordinates, encode((record.key, record.value, record.headers)), nonce)

    def _app(self, topic_id: str, partition: int) -> str:
        return f"{self._group}/{topic_id}/{partition}"


def archive_place(root: Root, stream: str) -> TableLocation:
    """Where the archive of `stream` is in a lake."""
    return root.table(FOLDER, stream)


def open_event(keyring: Keyring, stream: str, row: Mapping[str, Any]) -> ArchivedEvent:
    """The event of an archived row, given by column name, in the clear; raises as `clearwell.privacy.envelope.unseal`.

    It opens under its own stream and place alone.
    """
    coordinates = _event_id(row[RAW_TOPIC], row[RAW_PARTITION], row[RAW_OFFSET])
    return msgspec.msgpack.decode(unseal(keyring, stream, WHOLE, coordinates, row[SEALED]), type=ArchivedEvent)


def _event_id(topic_id: str, partition: int, offset: int) -> str:
    return f"{topic_id}/{partition}/{offset}"


def _coordinates(raw_range: RawRange) -> str:
    return f"offsets {raw_range.first} to {raw_range.next_offset - 1} of partition {raw_range.partition}"
