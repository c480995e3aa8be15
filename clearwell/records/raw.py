"""Fetched raw records → what a pipeline takes; one place, so that live and backfill read alike (invariant 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clearwell.kafka.names import CONTENT_TYPE, REFUSED
from clearwell.pipeline.batch import RawBatch
from clearwell.records.cloudevents import JSON
from clearwell.records.structured import STRUCTURED, content_type, unwrapped
from clearwell.source import Refusal

_OURS = (CONTENT_TYPE, JSON)
"""The fourth header of every record that a connector of ours writes (`cloudevents.Template`)."""

UNKNOWN_REFUSAL = "the source could make no event of it"


def raw_batch(topic_id: str, partition: int, records: Sequence[Any]) -> RawBatch:
    """Records of one partition, in offset order, as a batch.

    Our connectors put the mark of a refused item last among the headers. Its text becomes a reason only when it is one
    of `Refusal`: a header is not trusted to be free of data (invariant 9). Whoever else writes to a raw topic may do so
    in either mode of CloudEvents, or without a header.
    """
    refused = {
        record.offset: _reason(record.headers[-1][1])
        for record in records
        if record.headers and record.headers[-1][0] == REFUSED
    }
    values = [record.value for record in records]
    for index, record in enumerate(records):
        headers = record.headers
        if headers and (len(headers) < 4 or headers[3] != _OURS):
            kind = content_type(headers)
            if kind.startswith(STRUCTURED) and record.value is not None:
                data = unwrapped(record.value, kind)
                if isinstance(data, Refusal):
                    refused[record.offset] = data
                else:
                    values[index] = data
    return RawBatch(topic_id, partition, [record.offset for record in records], values, refused)


def _reason(header: bytes | None) -> str:
    try:
        return Refusal((header or b"").decode())  # a foreign client may write the name, and null
    except ValueError:
        return UNKNOWN_REFUSAL
