"""Dead letters on the wire: a destination's are told from those of raw events, and each opens only as what it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kafka.record.memory_records import MemoryRecords

from clearwell.kafka import names
from clearwell.kafka.message_format import Record
from clearwell.kafka.producer import written
from clearwell.pipeline.batch import RawBatch, Rejected
from clearwell.privacy.envelope import SealError
from clearwell.privacy.memory_keyring import MemoryKeyring
from clearwell.records import dead_letter
from clearwell.records.dead_letter import DELIVER, DeadLetter
from clearwell.testing.contracts import minimal_contract as contract

KEYS = MemoryKeyring()
WRITER = dead_letter.DeadLetterWriter(contract(), KEYS)
EVENT = b'{"id":"x"}'
REFUSED = DeadLetter(
    stream="visits",
    version=1,
    destination="mongo.shop",
    origin_topic_id="raw-a",
    raw_partition=3,
    raw_offset=41,
    reason="too large",
    step=DELIVER,
    field="",
    clean_topic_id="clean-a",
    clean_offset=77,
)


def headers_of(record: Record) -> list[tuple[str, bytes]]:
    """As a consumer reads them."""
    memory = written([record], 0)
    memory.close()
    (batch,) = list(MemoryRecords(bytes(memory.buffer())))
    (found,) = list(batch)
    return list(found.headers)


def test_a_refused_event_comes_back_whole() -> None:
    record = WRITER.refused(REFUSED, EVENT)
    letter = dead_letter.read(headers_of(record))
    assert letter == REFUSED
    assert dead_letter.open_event(KEYS, letter, record.value.decode()) == EVENT
    assert b'"id"' not in record.value


def test_a_repeated_letter_has_the_same_identity() -> None:
    first, again = WRITER.refused(REFUSED, EVENT), WRITER.refused(REFUSED, EVENT)
    assert first.headers == again.headers and first.value != again.value


def test_a_letter_opens_only_under_its_own_destination() -> None:
    record = WRITER.refused(REFUSED, EVENT)
    for other in ("postgres", ""):
        with pytest.raises(SealError):
            dead_letter.open_event(KEYS, replace(REFUSED, destination=other), record.value.decode())


def test_a_rejected_raw_event_names_no_destination() -> None:
    batch = RawBatch("raw-a", 3, [41], [b"not json"])
    (record,) = WRITER.rejected(batch, [Rejected(41, "no number", "validate", "n")])
    letter = dead_letter.read(headers_of(record))
    assert (letter.destination, letter.clean_topic_id, letter.clean_offset) == ("", None, None)
    assert (letter.origin_topic_id, letter.raw_partition, letter.raw_offset, letter.reason) == (
        "raw-a",
        3,
        41,
        "no number",
    )
    assert dead_letter.open_event(KEYS, letter, record.value.decode()) == b"not json"


@pytest.mark.parametrize("missing", [names.CLEAN_TOPIC_ID, names.CLEAN_OFFSET, names.RAW_OFFSET])
def test_half_a_letter_is_none(missing: str) -> None:
    headers = [one for one in headers_of(WRITER.refused(REFUSED, EVENT)) if one[0] != missing]
    with pytest.raises(ValueError, match=missing):
        dead_letter.read(headers)
