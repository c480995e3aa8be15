"""Clean records on the wire: which raw event each came from, and under which contract it was cleaned (invariant 3).

Each is a whole CloudEvent in binary mode, so that anything that speaks CloudEvents can read a clean topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from clearwell.errors import Fatal
from clearwell.kafka import names
from clearwell.kafka.message_format import SMALL, Header, encode_headers, varint, varint_of
from clearwell.records.cloudevents import attributes


class Headers:
    """Makes the headers of the clean records of one raw partition; the fixed ones are encoded once.

    Kafka stores headers with each record, and every reader pays for each of them: so there are the four attributes that
    CloudEvents requires, `ce_dataschema`, the raw offset and the raw topic's id, and no more. The value is always JSON,
    which is what CloudEvents takes a value for without a content type; the event's own id and time are fields of it.
    """

    def __init__(self, raw_topic_id: str, partition: int, dataschema: str) -> None:
        """`raw_topic_id` as Kafka gives it (22 characters), `dataschema` as "<stream>/v<N>"."""
        stream, _, version = dataschema.rpartition("/")
        self._fixed: tuple[Header, ...] = (
            (names.RAW_TOPIC_ID, raw_topic_id.encode("ascii")),
            (names.CE_DATASCHEMA, dataschema.encode("utf-8")),
            *attributes(f"/cleaners/{stream}", f"clearwell.{stream}.{version}"),
        )
        self._place = f"{raw_topic_id}/{partition}/".encode("ascii")
        name, id_name = names.RAW_OFFSET.encode(), names.CE_ID.encode()
        self._before = varint(len(self._fixed) + 2) + varint(len(name)) + name
        self._between = encode_headers(self._fixed)[1:] + varint(len(id_name)) + id_name  # without their number

    def at(self, offset: int) -> list[Header]:
        """The headers of the record cleaned from raw offset `offset`."""
        digits = b"%d" % offset
        return [(names.RAW_OFFSET, digits), *self._fixed, (names.CE_ID, self._place + digits)]

    def encode(self, offset: int) -> bytes:
        """The same in wire form."""
        digits = b"%d" % offset
        before, between = self._around(len(digits))
        return before + digits + between + digits

    def encode_all(self, offsets: Sequence[int]) -> list[bytes]:
        """`encode` of rising offsets: those with as many digits share the rest."""
        digits = len(b"%d" % offsets[-1]) if offsets else 0
        if not offsets or len(b"%d" % offsets[0]) != digits:
            return [self.encode(offset) for offset in offsets]
        before, between = (part.replace(b"%", b"%%") for part in self._around(digits))
        shape = before + b"%d" + between + b"%d"
        return [shape % (offset, offset) for offset in offsets]

    def _around(self, digits: int) -> tuple[bytes, bytes]:
        """What stands before the raw offset, and between it and the offset that ends the id."""
        return self._before + SMALL[digits], self._between + varint_of(len(self._place) + digits) + self._place


def raw_identities(records: Iterable[Any]) -> tuple[list[str], list[int]]:
    """The raw topic ids and raw offsets of fetched records, in order. Raises Fatal when one is not a cleaner's."""
    topics, offsets = [], []
    before, topic_id = b"", ""
    try:
        for headers in (record.headers for record in records):
            (first, offset), (second, topic) = headers[:2]
            if first != names.RAW_OFFSET or second != names.RAW_TOPIC_ID:  # not in the order we write: look them up
                values = dict(headers)
                offset, topic = values[names.RAW_OFFSET], values[names.RAW_TOPIC_ID]
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
