"""The rule of `newest.py` as a script that the server runs for each document, atomically (invariant 4).

Not external versions: an int64 holds the event time in µs, but not the raw offset beside it, and versions can't say
that a record of a recreated raw topic is news. The script gets both and is compiled once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from clearwell.destinations.opensearch.documents import EVENT_TIME_US
from clearwell.destinations.shape import RAW_OFFSET, RAW_PARTITION, RAW_TOPIC

CONFLICTS = 3
"""How often the server itself compares again where another writer was at the same document."""

LARGEST_REQUEST = 8 * 1024 * 1024
"""Bytes; a request ends once it is longer. Servers take 100 MB by default, and both makers advise 5 to 15 MB."""

SCRIPT = f"""
def row = params.row; def old = ctx._source;
if (ctx.op != 'create') {{
  if (row.{EVENT_TIME_US} != old.{EVENT_TIME_US} ? row.{EVENT_TIME_US} < old.{EVENT_TIME_US}
      : row.{RAW_TOPIC} == old.{RAW_TOPIC} && row.{RAW_PARTITION} == old.{RAW_PARTITION}
        && row.{RAW_OFFSET} < old.{RAW_OFFSET}) {{
    ctx.op = 'none'; return;
  }}
}}
ctx._source = row;
""".strip()

_BEFORE = b'{"scripted_upsert":true,"upsert":{},"script":{"lang":"painless","source":%s,"params":{"row":'
_START = _BEFORE % msgspec.json.encode(SCRIPT)


def requests(documents: Sequence[tuple[str, bytes]]) -> Iterator[bytes]:
    """The bodies of `_bulk` requests that put in what is new or newer; `documents` are ids and JSON."""
    lines: list[bytes] = []
    size = 0
    for name, document in documents:
        action = msgspec.json.encode({"update": {"_id": name, "retry_on_conflict": CONFLICTS}})
        lines += (action, _START + document + b"}}}")
        size += len(lines[-1])
        if size > LARGEST_REQUEST:
            yield b"\n".join((*lines, b""))
            lines, size = [], 0
    if lines:
        yield b"\n".join((*lines, b""))
