"""The account of drops and losses (invariant 5): which raw offsets which declared rule dropped, and which were removed
by retention before a cleaner had read them. No data.

Dropped events leave no record anywhere else, and a counter could not survive a crash exactly; a list of offsets can:
a batch that is cleaned again writes the same offsets again, and a union counts each once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from clearwell.kafka.message_format import Record, encode_headers


class Drops(msgspec.Struct, frozen=True, omit_defaults=True):
    """Value of a record on `dropped.<stream>`: the raw topic's id, and offsets by rule ("<number>.<step name>").

    `lost` are ranges [first, end) of raw offsets that were gone before they were read.
    """

    topic: str
    rules: dict[str, list[int]]
    lost: list[tuple[int, int]] = []


_decoder = msgspec.json.Decoder(Drops)


def encode(topic_id: str, dropped: Sequence[tuple[int, str]]) -> Record:
    """One record for the drops of one batch; it goes to the same partition as the batch."""
    rules: dict[str, list[int]] = defaultdict(list)
    for offset, rule in dropped:
        rules[rule].append(offset)
    return Record(None, msgspec.json.encode(Drops(topic_id, dict(rules))), encode_headers([]), b"")


def encode_lost(topic_id: str, first: int, end: int) -> Record:
    """The record of raw offsets [first, end) that were gone before they were read; a second one changes nothing."""
    return Record(None, msgspec.json.encode(Drops(topic_id, {}, [(first, end)])), encode_headers([]), b"")


def decode(value: bytes) -> Drops:
    """Reads a record's value. Raises msgspec.DecodeError when it is not ours."""
    return _decoder.decode(value)
