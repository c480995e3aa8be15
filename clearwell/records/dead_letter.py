"""Dead letters on the wire: the event sealed whole, the reason and where it came from in headers.

A raw event that a step rejected is sealed as it came. A clean event that one destination can't take is sealed as it is
in the clean topic, and its dead letter names that destination: the event itself counts as clean, not as dead
(invariant 5). Each dead letter is a whole CloudEvent in binary mode, whose data is the sealed text.
"""

from __future__ import annotations

import re
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

_SCHEMA = re.compile(r"([^/]+)/v([1-9][0-9]{0,3})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What a dead letter says of its event; never data (invariant 9), never trusted for control.

    `origin_topic_id`, `raw_partition` and `raw_offset` are the event's identity (invariant 3); it has one partition
    everywhere. `destination` is the `to` of the route that could not take the event, which is then at `clean_offset` of
    the clean topic; "" of a rejected raw event. `connector` is who sent a rejected raw event, "" where nobody of ours
    did.
    """

    stream: str
    version: int
    destination: str = ""
    origin_topic_id: str
    raw_partition: int
    raw_offset: int
    reason: str
    step: str
    field: str
    clean_topic_id: str | None = None
    clean_offset: int | None = None
    connector: str = ""

    @property
    def event_id(self) -> str:
        """The identity under which the event is sealed."""
        return f"{self.origin_topic_id}/{self.raw_partition}/{self.raw_offset}"

    @property
    def sealed_field(self) -> str:
        """The field under which the event is sealed: an envelope opens as what it was sealed for, alone."""
        return WHOLE + self.destination


class DeadLetterWriter:
    """Makes the dead letters of one contract."""

    def __init__(self, contract: Contract, keyring: Keyring) -> None:
        """Raises Fatal when the keyring has no key to seal with (invariant 6)."""
        self._stream = contract.stream
        self._version = contract.version
        self._sealer = Sealer(keyring.seal_key(None), contract.stream)
        self._attributes: tuple[Header, ...] = (
            (names.CE_DATASCHEMA, f"{contract.stream}/v{contract.version}".encode()),
            *attributes(f"/cleaners/{contract.stream}", f"clearwell.{contract.stream}.dead"),
            (names.CONTENT_TYPE, b"text/plain"),
        )

    def rejected(
        self, batch: RawBatch, rejected: Sequence[Rejected], connectors: Mapping[int, str] = {}
    ) -> Iterator[Record]:
        """One record for each rejected event of `batch`, in order. A tombstone is sealed as no bytes.

        `connectors` are by raw offset who sent the events.
        """
        values = dict(zip(batch.offsets, batch.values, strict=True))
        for event, nonce in zip(rejected, draw_nonces(len(rejected)), strict=True):
            letter = DeadLetter(
                stream=self._stream,
                version=self._version,
                origin_topic_id=batch.topic_id,
                raw_partition=batch.partition,
                raw_offset=event.offset,
                reason=event.reason,
                step=event.step,
                field=event.field,
                connector=connectors.get(event.offset, ""),
            )
            sender = (names.DEAD_CONNECTOR, letter.connector.encode())
            yield self._record(letter, letter.event_id, values[event.offset] or b"", nonce, [sender])

    def refused(self, letter: DeadLetter, event: bytes) -> Record:
        """The record of a clean event that its destination can't take; written twice, it has the same headers."""
        headers = [
            (names.DEAD_DESTINATION, letter.destination.encode()),
            (names.CLEAN_TOPIC_ID, (letter.clean_topic_id or "").encode()),
            (names.CLEAN_OFFSET, b"%d" % (letter.clean_offset or 0)),
        ]
        return self._record(letter, f"{letter.event_id}/{letter.destination}", event, next(draw_nonces(1)), headers)

    def _record(self, letter: DeadLetter, ce_id: str, event: bytes, nonce: bytes, more: Sequence[Header]) -> Record:
        sealed = self._sealer.seal(letter.sealed_field, letter.event_id, event, nonce)
        headers = [
            (names.DEAD_REASON, letter.reason.encode()),
            (names.DEAD_STEP, letter.step.encode()),
            (names.DEAD_FIELD, letter.field.encode()),
            *self._attributes,
            (names.CE_ID, ce_id.encode()),
            (names.RAW_TOPIC_ID, letter.origin_topic_id.encode()),
            (names.DEAD_PARTITION, b"%d" % letter.raw_partition),
            (names.RAW_OFFSET, b"%d" % letter.raw_offset),
            *more,
        ]
        return Record(None, sealed.encode("ascii"), encode_headers(headers), b"")


def read(headers: Iterable[tuple[str, bytes]]) -> DeadLetter:
    """The headers of a dead letter. Raises ValueError when they are not ours."""
    try:
        texts = {name: value.decode() for name, value in headers}
        schema = _SCHEMA.match(texts[names.CE_DATASCHEMA])
        refused = names.DEAD_DESTINATION in texts
        if schema is None or (refused and not texts[names.DEAD_DESTINATION]):
            raise ValueError("not a dead letter of Clearwell: its schema or destination can't be ours")
        return DeadLetter(
            stream=schema[1],
            version=int(schema[2]),
            destination=texts[names.DEAD_DESTINATION] if refused else "",
            origin_topic_id=texts[names.RAW_TOPIC_ID],
            raw_partition=int(texts[names.DEAD_PARTITION]),
            raw_offset=int(texts[names.RAW_OFFSET]),
            reason=texts[names.DEAD_REASON],
            step=texts[names.DEAD_STEP],
            field=texts[names.DEAD_FIELD],
            clean_topic_id=texts[names.CLEAN_TOPIC_ID] if refused else None,
            clean_offset=int(texts[names.CLEAN_OFFSET]) if refused else None,
            connector=texts.get(names.DEAD_CONNECTOR, ""),
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


def open_event(keyring: Keyring, letter: DeadLetter, envelope: str) -> bytes:
    """The event of a dead letter in the clear; raises as `unseal` does.

    It is the raw event as it came or, of one that names a destination, the clean event's JSON.
    """
    return unseal(keyring, letter.stream, letter.sealed_field, letter.event_id, envelope)
