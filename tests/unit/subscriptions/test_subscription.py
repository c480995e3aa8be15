"""A model gets every event of the clean topic once, across restarts and repeats in the topic; over a log in memory."""

from __future__ import annotations

import pyarrow as pa
import pytest

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.errors import ConfigError, Fatal, Retryable
from clearwell.kafka.message_format import Record, encode_headers
from clearwell.kafka.names import clean_topic
from clearwell.pipeline.clean import CleanCodec
from clearwell.records import clean
from clearwell.subscriptions.subscription import Subscription
from clearwell.testing import MemoryLog
from tests.support.following import RAW_ID, every, ids

FIELDS = (Field("id", Type.STRING, required=True), Field("n", Type.INT64, required=True))


class MemoryStream:
    """A clean topic, written as a cleaner would."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.topic = clean_topic("followed", 1)
        self.log.create_topics("followed", 1, partitions=2)

    def write(self, partition: int, offsets: range, raw_id: str = RAW_ID) -> None:
        headers = clean.Headers(raw_id, partition, "followed/v1")
        records = [
            Record(None, b'{"id":"%d-%d","n":%d}' % (partition, offset, offset), headers.encode(offset), b"")
            for offset in offsets
        ]
        self.log.producer("cleaner").begin_at(self.topic, partition, records)

    def follow(self, name: str, fields: tuple[str, ...] = (), max_rows: int = 5_000) -> Subscription:
        codec = CleanCodec(CleanSchema("followed", 1, FIELDS, ("id",), "id", "n"))
        return Subscription(name, self.log, codec, fields=fields, max_rows=max_rows, idle=0.01)


@pytest.fixture
def stream() -> MemoryStream:
    return MemoryStream()


def test_another_raw_topic_is_another_identity(stream: MemoryStream) -> None:
    stream.write(0, range(10))
    stream.write(0, range(10), raw_id="S" * 22)
    with stream.follow("model") as events:
        assert sorted(ids(events)) == sorted(every((0, range(10))) * 2)


def test_what_was_not_committed_comes_again_and_nothing_else(stream: MemoryStream) -> None:
    stream.write(0, range(100))
    with stream.follow("model", max_rows=30) as events:
        first, second = next(events), next(events)
        first.commit()
        assert (first.raw_offsets, len(second)) == (list(range(30)), 30)
    with stream.follow("model") as events:
        assert sorted(ids(events)) == every((0, range(30, 100)))


def test_a_later_commit_covers_the_earlier_batches_and_is_never_taken_back(stream: MemoryStream) -> None:
    stream.write(0, range(90))
    with stream.follow("model", max_rows=30) as events:
        first, second = next(events), next(events)
        second.commit()
        first.commit()
    with stream.follow("model") as events:
        assert sorted(ids(events)) == every((0, range(60, 90)))


def test_batches_as_arrow_with_the_chosen_fields(stream: MemoryStream) -> None:
    stream.write(0, range(3))
    with stream.follow("model", fields=("n", "id")) as events:
        batch = next(events)
    assert batch.columns == ("n", "id")
    expected = pa.schema([pa.field("n", pa.int64(), nullable=False), pa.field("id", pa.string(), nullable=False)])
    assert batch.arrow().schema.equals(expected)
    assert batch.arrow().to_pylist() == batch.dicts() == [{"n": n, "id": f"0-{n}"} for n in range(3)]


def test_a_field_that_is_not_there_names_the_nearest(stream: MemoryStream) -> None:
    with pytest.raises(ConfigError, match=r'has no clean field "idd"\. Did you mean "id"\?'):
        stream.follow("model", fields=("idd",))


def test_a_topic_that_is_not_there_is_one_sentence(stream: MemoryStream) -> None:
    stream.log.delete_topics([stream.topic])
    with pytest.raises(Retryable, match=r"clean\.followed\.v1 does not exist"):
        stream.follow("model")


def test_a_foreign_record_stops_the_model(stream: MemoryStream) -> None:
    stream.log.producer("test").begin_at(stream.topic, 0, [Record(None, b"{}", encode_headers([]), b"")])
    with stream.follow("model") as events, pytest.raises(Fatal, match="something other than a Clearwell cleaner"):
        next(events)
