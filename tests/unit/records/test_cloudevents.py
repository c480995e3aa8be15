"""CloudEvents in and out: the official SDK reads what we write, and what it writes is read."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import (
    KafkaMessage,
    from_kafka_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent

from clearwell.pipeline.batch import RawBatch, Rejected
from clearwell.records import clean, dead_letter
from clearwell.records.raw import raw_batch
from clearwell.records.structured import content_type
from clearwell.source import Refusal, Request, RequestRefused, SourceEvent
from connectors.kafka.source import id_of, kafka_event
from connectors.webhook.source import WebhookConfig, WebhookSource
from tests.unit.records.test_dead_letter import KEYS, contract

DATA = {"id": "a", "at": "2026-01-02T03:04:05Z", "n": 1.50}
ATTRIBUTES = {"id": "7", "source": "/elsewhere", "type": "com.example.thing", "specversion": "1.0"}


def record(value: bytes | None, headers: list[tuple[str, bytes | None]], offset: int = 0) -> Any:
    return SimpleNamespace(offset=offset, value=value, headers=headers)


def taken(value: bytes | None, *headers: tuple[str, bytes | None]) -> bytes | str | None:
    """What a pipeline is given of one raw record, or why it is refused."""
    batch = raw_batch("t" * 22, 0, [record(value, list(headers))])
    return batch.refused.get(0) or batch.values[0]


def read(value: bytes, headers: list[tuple[str, bytes]]) -> Any:
    return from_kafka_event(KafkaMessage(dict(headers), None, value))


def test_the_sdk_reads_a_clean_record() -> None:
    headers = clean.Headers("AbC-_" * 4 + "xy", 3, "flights/v2").at(17)
    event = read(b'{"a":1}', headers)
    assert (event.get_id(), event.get_source()) == ("AbC-_" * 4 + "xy/3/17", "/cleaners/flights")
    assert (event.get_type(), event.get_specversion()) == ("clearwell.flights.v2", "1.0")
    assert (event.get_dataschema(), event.get_data()) == ("flights/v2", {"a": 1})


def test_the_sdk_reads_a_dead_letter() -> None:
    letters = dead_letter.DeadLetterWriter(contract(), KEYS)
    batch = RawBatch("t" * 22, 3, [5], [b"{"])
    (letter,) = letters.rejected(batch, [Rejected(5, "no JSON", "decode")])
    pairs = decoded(letter.headers)
    event = read(letter.value, pairs)
    assert (event.get_id(), event.get_datacontenttype()) == ("t" * 22 + "/3/5", "text/plain")
    assert event.get_type().endswith(".dead")
    assert dead_letter.read(pairs).raw_offset == 5


@pytest.mark.parametrize("write", [to_binary_event, to_structured_event])
def test_what_the_sdk_writes_is_read(write: Any) -> None:
    event = CloudEvent(attributes=dict(ATTRIBUTES), data=dict(DATA))
    message = write(event)
    value = taken(message.value, *message.headers.items())
    assert isinstance(value, bytes)
    assert json.loads(value) == DATA


ENVELOPE = json.dumps(ATTRIBUTES)[:-1].encode()
STRUCTURED = ("content-type", b"application/cloudevents+json; charset=UTF-8")


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (ENVELOPE + b',"data":{"n": 1.50}}', STRUCTURED[1], b'{"n": 1.50}'),
        (ENVELOPE + b',"data_base64":"eyJuIjoxfQ=="}', STRUCTURED[1], b'{"n":1}'),
        (ENVELOPE + b',"data":{"n":1}}', b"Application/CloudEvents+JSON", b'{"n":1}'),
        (ENVELOPE + b',"data":{"n":1}}', b"application/json", ENVELOPE + b',"data":{"n":1}}'),
        (ENVELOPE + b"}", STRUCTURED[1], Refusal.CLOUDEVENT_DATA),
        (ENVELOPE + b',"data":1,"data_base64":"MQ=="}', STRUCTURED[1], Refusal.CLOUDEVENT_DATA),
        (ENVELOPE + b',"data_base64":"M"}', STRUCTURED[1], Refusal.CLOUDEVENT_DATA),
        (b'{"n":1}', STRUCTURED[1], Refusal.NO_CLOUDEVENT),
        (b"[" * 9_000, STRUCTURED[1], Refusal.NO_CLOUDEVENT),
        (b"\xff", STRUCTURED[1], Refusal.NO_CLOUDEVENT),
        (b"[]", b"application/cloudevents-batch+json", Refusal.CLOUDEVENTS_BATCH),
        (b"Obj", b"application/cloudevents+avro", Refusal.CLOUDEVENTS_FORMAT),
        (None, STRUCTURED[1], None),
    ],
)
def test_structured_mode(value: bytes | None, kind: bytes, expected: bytes | Refusal | None) -> None:
    assert taken(value, ("content-type", kind)) == expected
    # the attributes may be headers too, before or after it
    assert taken(value, ("ce_specversion", b"1.0"), ("ce_id", b"7"), ("Content-Type", kind), ("x", None)) == expected


def test_neighbours_of_a_broken_envelope_flow() -> None:
    values = [ENVELOPE + b',"data":{"n":1}}', b"{", ENVELOPE + b',"data":{"n":2}}', b'{"n":3}']
    records = [record(value, [STRUCTURED] if at < 3 else [], at) for at, value in enumerate(values)]
    batch = raw_batch("t" * 22, 0, records)
    assert batch.values == [b'{"n":1}', b"{", b'{"n":2}', b'{"n":3}']
    assert batch.refused == {1: Refusal.NO_CLOUDEVENT}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ENVELOPE + b',"data":{"n":1}}', SourceEvent("x", b'{"n":1}')),
        (b'{"n":1}', SourceEvent("x", b'{"n":1}', Refusal.NO_CLOUDEVENT)),
    ],
)
def test_the_kafka_source_gives_the_data(value: bytes, expected: SourceEvent) -> None:
    assert kafka_event("x", value, "application/cloudevents+json") == expected
    assert kafka_event("x", value, "application/json") == SourceEvent("x", value)


@pytest.mark.parametrize(
    ("header", "value", "headers", "expected"),
    [
        ("ce_id", ENVELOPE + b',"data":1}', [STRUCTURED], "7"),
        ("ce_type", ENVELOPE + b',"data":1}', [STRUCTURED], "com.example.thing"),
        ("ce_id", ENVELOPE + b',"data":1}', [STRUCTURED, ("ce_id", b"of the header")], "7"),
        ("ce_id", b'{"id":"\\u00e4"}', [STRUCTURED], "\u00e4"),
        ("ce_id", ENVELOPE + b',"data":1}', [("content-type", b"application/json")], ""),
        ("ce_id", ENVELOPE + b',"data":1}', [("ce_id", b"8")], "8"),
        ("ce_id", b'{"id":7}', [STRUCTURED, ("ce_id", b"8")], "8"),
        ("ce_id", b'{"id":"\\ud800"}', [STRUCTURED], ""),
        ("ce_id", b"[" * 9_000, [STRUCTURED, ("ce_id", None)], ""),
        ("ce_id", None, [STRUCTURED, ("ce_id", b"8 \xff")], "8 \\xff"),
        ("id", ENVELOPE + b',"data":1}', [STRUCTURED], ""),
        (None, ENVELOPE + b',"data":1}', [STRUCTURED, ("ce_id", b"8")], ""),
    ],
)
def test_the_kafka_source_takes_the_id_of_both_modes(
    header: str | None, value: bytes | None, headers: list[tuple[str, bytes | None]], expected: str
) -> None:
    assert id_of(record(value, headers), content_type(headers), header) == expected


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (ENVELOPE + b',"data":{"n": 1.50}}', "application/cloudevents+json", [b'{"n": 1.50}']),
        (b"[" + ENVELOPE + b',"data":{"n":1}}]', "application/cloudevents-batch+json", [b'{"n":1}']),
        (b"[]", "application/cloudevents-batch+json", []),
        (b'{"n":1}', "application/cloudevents+json", None),
        (b'[{"n":1}]', "application/cloudevents-batch+json", None),
    ],
)
def test_a_webhook_takes_both_modes(body: bytes, kind: str, expected: list[bytes] | None) -> None:
    webhook = WebhookSource(WebhookConfig(signature="none"))
    request = Request("POST", {"content-type": kind}, {}, body)
    if expected is None:
        with pytest.raises(RequestRefused) as refused:
            webhook.receive(request)
        assert refused.value.status == 400
    else:
        assert [event.data for event in webhook.receive(request)] == expected


def decoded(headers: bytes) -> list[tuple[str, bytes]]:
    """Headers in wire form, as pairs; all lengths here are below 64, a byte each."""
    count, pairs, position = headers[0] >> 1, [], 1
    for _ in range(count):
        name, position = piece(headers, position)
        value, position = piece(headers, position)
        pairs.append((name.decode(), value))
    return pairs


def piece(headers: bytes, position: int) -> tuple[bytes, int]:
    end = position + 1 + (headers[position] >> 1)
    return headers[position + 1 : end], end
