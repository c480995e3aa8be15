"""Clean records on the wire: which raw event each came from, and under which contract it was cleaned (invariant 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from clearwell.errors import Fatal
from clearwell.kafka import names
from clearwell.kafka.wire import SMALL, Header, encode_headers, varint


class Headers:
    """Makes the headers of the clean records of one raw topic; the fixed ones are encoded once.

    Kafka stores headers with each record, so there are three and no more: the raw offset, the raw topic's id, and
    `ce_dataschema`. The value is always JSON, and the event's own id is a field of it.
    """

    def __init__(self, raw_topic_id: str, dataschema: str) -> None:
        """`raw_topic_id` as Kafka gives it (22 characters), `dataschema` as "<stream>/v<N>"."""
        self._topic: Header = (names.RAW_TOPIC_ID, raw_topic_id.encode("ascii"))
        self._schema: Header = (names.CE_DATASCHEMA, dataschema.encode("utf-8"))
        name = names.RAW_OFFSET.encode()
        self._before = varint(3) + varint(len(name)) + name
        self._after = encode_headers([self._topic, self._schema])[1:]  # without their number

    def at(self, offset: int) -> list[Header]:
        """The headers of the record cleaned from raw offset `offset`."""
        return [(names.RAW_OFFSET, b"%d" % offset), self._topic, self._schema]

    def encode(self, offset: int) -> bytes:
        """The same in wire form."""
        digits = b"%d" % offset
        return self._before + SMALL[len(digits)] + digits + self._after

    def encode_all(self, offsets: Sequence[int]) -> list[bytes]:
        """`encode` of rising offsets: those with as many digits share the rest (0.08 against 0.22 µs each)."""
        digits = len(b"%d" % offsets[-1]) if offsets else 0
        if not offsets or len(b"%d" % offsets[0]) != digits:
            return [self.encode(offset) for offset in offsets]
        before, after = self._before + SMALL[digits], self._after
        shape = before.replace(b"%", b"%%") + b"%d" + after.replace(b"%", b"%%")
        return [shape % offset for offset in offsets]


def raw_identity(headers: Sequence[Header]) -> tuple[str, int]:
    """The raw topic's id and the raw offset. Raises Fatal when the record is not a cleaner's."""
    (topic_id,), (offset,) = _identities([headers])
    return topic_id, offset


def raw_identities(records: Iterable[Any]) -> tuple[list[str], list[int]]:
    """The raw topic ids and raw offsets of fetched records, in order. Raises Fatal as `raw_identity` does."""
    return _identities(record.headers for record in records)


def _identities(many: Iterable[Sequence[Header]]) -> tuple[list[str], list[int]]:
    topics, offsets = [], []
    before, topic_id = b"", ""
    try:
        for headers in many:
            (first, offset), (second, topic) = headers[:2]
            if first != names.RAW_OFFSET or second != names.RAW_TOPIC_ID:  # not in the order we write: look them up
                found = dict(headers)
                offset, topic = found[names.RAW_OFFSET], found[names.RAW_TOPIC_ID]
            if topic != before:  # hardly ever: one text for all records of a raw topic
                before, topic_id = topic, topic.decode("ascii")
            topics.append(topic_id)
            offsets.append(int(offset))
    except (ValueError, KeyError, AttributeError, TypeError):
        raise Fatal(
            f"A record in a clean topic has no valid {names.RAW_OFFSET} and {names.RAW_TOPIC_ID} headers: something "
            "other than a Clearwell cleaner writes to this topic, and its events can't be told from repeats."
        ) from None
    return topics, offsets
