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
from clearwell.privacy.memory import MemoryKeyring
from clearwell.records import dead_letter
from clearwell.records.dead_letter import DeadLetter, Undelivered
from tests.unit.contract_text import contract

KEYS = MemoryKeyring()
LETTERS = dead_letter.Letters(contract(), KEYS)
REFUSED = Undelivered("mongo.shop", "too large", 3, "raw-a", 41, "clean-a", 77, b'{"id":"x"}')
IN_HEADERS = DeadLetter(
    "raw-a", 3, 41, "too large", "deliver", "", "visits/v1", "mongo.shop", clean_topic_id="clean-a", clean_offset=77
)


def headers_of(record: Record) -> list[tuple[str, bytes]]:
    """As a consumer reads them."""
    memory = written([record], 0)
    memory.close()
    (batch,) = list(MemoryRecords(bytes(memory.buffer())))
    (found,) = list(batch)
    return list(found.headers)


def test_an_undelivered_event_comes_back_whole() -> None:
    record = LETTERS.undelivered(REFUSED)
    letter = dead_letter.read(headers_of(record))
    assert letter == IN_HEADERS
    assert dead_letter.open_letter(KEYS, "visits", letter, record.value) == REFUSED.value
    assert b'"id"' not in record.value


def test_a_repeated_letter_has_the_same_identity() -> None:
    first, again = LETTERS.undelivered(REFUSED), LETTERS.undelivered(REFUSED)
    assert first.headers == again.headers and first.value != again.value


def test_a_letter_opens_only_under_its_own_destination() -> None:
    record = LETTERS.undelivered(REFUSED)
    for other in ("postgres", None):
        with pytest.raises(SealError):
            dead_letter.open_letter(KEYS, "visits", replace(IN_HEADERS, destination=other), record.value)


def test_a_rejected_raw_event_names_no_destination() -> None:
    batch = RawBatch("raw-a", 3, [41], [b"not json"])
    (record,) = LETTERS.write(batch, [Rejected(41, "no number", "validate", "n")])
    letter = dead_letter.read(headers_of(record))
    assert (letter.destination, letter.clean_topic_id, letter.clean_offset) == (None, None, None)
    assert (letter.topic_id, letter.partition, letter.offset, letter.reason) == ("raw-a", 3, 41, "no number")
    assert dead_letter.open_letter(KEYS, "visits", letter, record.value) == b"not json"


@pytest.mark.parametrize("missing", [names.CLEAN_TOPIC_ID, names.CLEAN_OFFSET, names.RAW_OFFSET])
def test_half_a_letter_is_none(missing: str) -> None:
    headers = [one for one in headers_of(LETTERS.undelivered(REFUSED)) if one[0] != missing]
    with pytest.raises(ValueError, match=missing):
        dead_letter.read(headers)
