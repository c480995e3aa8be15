"""Dead letters on the wire: the event sealed whole, the reason and where it came from in headers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from clearwell.contract.model import Contract
from clearwell.kafka import names
from clearwell.kafka.wire import Record, encode_headers
from clearwell.pipeline.batch import RawBatch, Rejected
from clearwell.privacy.envelope import Sealer, draw_nonces, unseal
from clearwell.privacy.keyring import Keyring

WHOLE = "*"
"""The field name in the associated data of an event that is sealed whole."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What the headers of a dead letter say; never data (invariant 9), never trusted for control."""

    topic_id: str
    partition: int
    offset: int
    reason: str
    step: str
    field: str
    schema: str


class Letters:
    """Makes the dead letters of one contract."""

    def __init__(self, contract: Contract, keyring: Keyring) -> None:
        """Raises Fatal when the keyring has no key to seal with (invariant 6)."""
        self._sealer = Sealer(keyring.seal_key(None), contract.stream)
        self._schema = f"{contract.stream}/v{contract.version}".encode()

    def write(self, batch: RawBatch, rejected: Sequence[Rejected]) -> Iterator[Record]:
        """One record for each rejected event of `batch`, in order. A tombstone is sealed as no bytes."""
        values = dict(zip(batch.offsets, batch.values, strict=True))
        for one, nonce in zip(rejected, draw_nonces(len(rejected)), strict=True):
            place = event_id(batch.topic_id, batch.partition, one.offset)
            sealed = self._sealer.seal(WHOLE, place, values[one.offset] or b"", nonce)
            yield Record(None, sealed.encode("ascii"), encode_headers(self._headers(batch, one)), b"")

    def _headers(self, batch: RawBatch, one: Rejected) -> list[tuple[str, bytes]]:
        return [
            (names.DEAD_REASON, one.reason.encode()),
            (names.DEAD_STEP, one.step.encode()),
            (names.DEAD_FIELD, one.field.encode()),
            (names.CE_DATASCHEMA, self._schema),
            (names.RAW_TOPIC_ID, batch.topic_id.encode()),
            (names.DEAD_PARTITION, b"%d" % batch.partition),
            (names.RAW_OFFSET, b"%d" % one.offset),
        ]


def event_id(topic_id: str, partition: int, offset: int) -> str:
    """The identity under which a dead letter is sealed: its place in raw (invariant 3)."""
    return f"{topic_id}/{partition}/{offset}"


def read(headers: Iterable[tuple[str, bytes]]) -> DeadLetter:
    """The headers of a dead letter. Raises ValueError when they are not ours."""
    found = {name: value.decode() for name, value in headers}
    try:
        return DeadLetter(
            topic_id=found[names.RAW_TOPIC_ID],
            partition=int(found[names.DEAD_PARTITION]),
            offset=int(found[names.RAW_OFFSET]),
            reason=found[names.DEAD_REASON],
            step=found[names.DEAD_STEP],
            field=found[names.DEAD_FIELD],
            schema=found[names.CE_DATASCHEMA],
        )
    except KeyError as missing:
        raise ValueError(f"not a dead letter of Clearwell: header {missing} is missing") from None


def open_letter(keyring: Keyring, stream: str, letter: DeadLetter, value: bytes) -> bytes:
    """The raw event of a dead letter, in the clear: for the one who mends it. Raises as `unseal` does."""
    place = event_id(letter.topic_id, letter.partition, letter.offset)
    return unseal(keyring, stream, WHOLE, place, value.decode("ascii"))
