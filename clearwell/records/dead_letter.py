"""Dead letters on the wire: the event sealed whole, the reason and where it came from in headers.

A raw event that a step rejected is sealed as it came. A clean event that one destination can't take is sealed as it is
in the clean topic, and its letter names that destination: the event itself counts as clean, not as dead (invariant 5).
Each letter is a whole CloudEvent in binary mode, whose data is the sealed text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearwell.contract.model import Contract
from clearwell.kafka import names
from clearwell.kafka.message_format import Header, Record, encode_headers
from clearwell.pipeline.batch import RawBatch, Rejected
from clearwell.privacy.envelope import Sealer, draw_nonces, unseal
from clearwell.privacy.keyring import Keyring
from clearwell.records.cloudevents import attributes

WHOLE = "*"
"""The field name in the associated data of an event that is sealed whole; a destination's name may follow."""

DELIVER = "deliver"
"""The step of an event that its destination refused."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What the headers of a dead letter say; never data (invariant 9), never trusted for control.

    `topic_id`, `partition` and `offset` are the place in raw. `destination` is the `to` of the route that could not
    take the event, with the event's place in the clean topic (partition `partition`); None of a rejected raw event.
    `connector` is who sent a rejected raw event, "" where nobody of ours did.
    """

    topic_id: str
    partition: int
    offset: int
    reason: str
    step: str
    field: str
    schema: str
    destination: str | None = None
    clean_topic_id: str | None = None
    clean_offset: int | None = None
    connector: str = ""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A clean event that a destination can't take; `reason` is one of `destinations.protocol.RowReason`."""

    destination: str
    reason: str
    partition: int
    raw_topic_id: str
    raw_offset: int
    clean_topic_id: str
    clean_offset: int
    value: bytes


class Letters:
    """Makes the dead letters of one contract."""

    def __init__(self, contract: Contract, keyring: Keyring) -> None:
        """Raises Fatal when the keyring has no key to seal with (invariant 6)."""
        self._sealer = Sealer(keyring.seal_key(None), contract.stream)
        self._attributes: tuple[Header, ...] = (
            (names.CE_DATASCHEMA, f"{contract.stream}/v{contract.version}".encode()),
            *attributes(f"/cleaners/{contract.stream}", f"clearwell.{contract.stream}.dead"),
            (names.CONTENT_TYPE, b"text/plain"),
        )

    def write(
        self, batch: RawBatch, rejected: Sequence[Rejected], connectors: Mapping[int, str] = {}
    ) -> Iterator[Record]:
        """One record for each rejected event of `batch`, in order. A tombstone is sealed as no bytes.

        `connectors` are by raw offset who sent the events.
        """
        values = dict(zip(batch.offsets, batch.values, strict=True))
        for one, nonce in zip(rejected, draw_nonces(len(rejected)), strict=True):
            place = event_id(batch.topic_id, batch.partition, one.offset)
            sealed = self._sealer.seal(WHOLE, place, values[one.offset] or b"", nonce)
            why = self._why(place, one.reason, one.step, one.field)
            where = _where(batch.topic_id, batch.partition, one.offset)
            sender = (names.DEAD_CONNECTOR, connectors.get(one.offset, "").encode())
            yield Record(None, sealed.encode("ascii"), encode_headers([*why, *where, sender]), b"")

    def undelivered(self, one: Undelivered) -> Record:
        """The record of an event that its destination can't take. A repeat has the same headers."""
        place = event_id(one.raw_topic_id, one.partition, one.raw_offset)
        sealed = self._sealer.seal(WHOLE + one.destination, place, one.value, next(draw_nonces(1)))
        headers = [
            *self._why(f"{place}/{one.destination}", one.reason, DELIVER, ""),
            *_where(one.raw_topic_id, one.partition, one.raw_offset),
            (names.DEAD_DESTINATION, one.destination.encode()),
            (names.CLEAN_TOPIC_ID, one.clean_topic_id.encode()),
            (names.CLEAN_OFFSET, b"%d" % one.clean_offset),
        ]
        return Record(None, sealed.encode("ascii"), encode_headers(headers), b"")

    def _why(self, letter_id: str, reason: str, step: str, field: str) -> list[Header]:
        return [
            (names.DEAD_REASON, reason.encode()),
            (names.DEAD_STEP, step.encode()),
            (names.DEAD_FIELD, field.encode()),
            *self._attributes,
            (names.CE_ID, letter_id.encode()),
        ]


def _where(topic_id: str, partition: int, offset: int) -> list[Header]:
    return [
        (names.RAW_TOPIC_ID, topic_id.encode()),
        (names.DEAD_PARTITION, b"%d" % partition),
        (names.RAW_OFFSET, b"%d" % offset),
    ]


def event_id(topic_id: str, partition: int, offset: int) -> str:
    """The identity under which a dead letter is sealed: its place in raw (invariant 3)."""
    return f"{topic_id}/{partition}/{offset}"


def read(headers: Iterable[tuple[str, bytes]]) -> DeadLetter:
    """The headers of a dead letter. Raises ValueError when they are not ours."""
    try:
        found = {name: value.decode() for name, value in headers}
        destination = found.get(names.DEAD_DESTINATION)
        return DeadLetter(
            topic_id=found[names.RAW_TOPIC_ID],
            partition=int(found[names.DEAD_PARTITION]),
            offset=int(found[names.RAW_OFFSET]),
            reason=found[names.DEAD_REASON],
            step=found[names.DEAD_STEP],
            field=found[names.DEAD_FIELD],
            schema=found[names.CE_DATASCHEMA],
            destination=destination,
            clean_topic_id=None if destination is None else found[names.CLEAN_TOPIC_ID],
            clean_offset=None if destination is None else int(found[names.CLEAN_OFFSET]),
            connector=found.get(names.DEAD_CONNECTOR, ""),
        )
    except KeyError as missing:
        raise ValueError(f"not a dead letter of Clearwell: header {missing} is missing") from None
    except AttributeError:  # a header without a value
        raise ValueError("not a dead letter of Clearwell: a header is null") from None


def known(records: Iterable[Any]) -> Iterator[DeadLetter]:
    """What the headers of fetched records say; a record that is no dead letter of ours is passed over."""
    for record in records:
        try:
            yield read(record.headers)
        except ValueError:
            continue


def open_letter(keyring: Keyring, stream: str, letter: DeadLetter, value: bytes) -> bytes:
    """What a dead letter holds, in the clear, for the one who mends it; raises as `unseal` does.

    It is the raw event as it came or, of a letter that names a destination, the clean event's JSON.
    """
    place = event_id(letter.topic_id, letter.partition, letter.offset)
    return unseal(keyring, stream, WHOLE + (letter.destination or ""), place, value.decode("ascii"))
