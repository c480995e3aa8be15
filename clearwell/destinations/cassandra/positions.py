"""Where each group is in each clean partition: a row each, in the keyspace of the rows (invariant 4).

Every change is a lightweight transaction on what was read, so that of two writers one is refused.
"""

# ruff: noqa: S608 - the statements are put together from names of our own and no values
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from clearwell.destinations.cassandra.link import CassandraSession, Found
from clearwell.destinations.fencing import older_epoch, older_generation
from clearwell.destinations.protocol import Accounts, Claim, CleanBatch, Start, counts_of
from clearwell.errors import Retryable

TABLE = "clearwell_positions"
_PLACE = {"group_name": "text", "topic_id": "text", "partition_number": "int"}
_COUNTS = ("delivered", "unrouted", "repeats", "refused")
_HOLDS = dict.fromkeys(("generation", "epoch", "next_offset", *_COUNTS), "bigint") | {"marks": "text"}

_ALL = _PLACE | _HOLDS
_CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} ({', '.join(f'{name} {of}' for name, of in _ALL.items())}, "
    f"PRIMARY KEY (({', '.join(_PLACE)})))"
)
_WHERE = " AND ".join(f"{name} = :{name}" for name in _PLACE)
_READ = f"SELECT * FROM {TABLE} WHERE {_WHERE}"
_FIRST = f"INSERT INTO {TABLE} ({', '.join(_ALL)}) VALUES ({', '.join(f':{name}' for name in _ALL)}) IF NOT EXISTS"
_CHANGE = (
    f"UPDATE {TABLE} SET {', '.join(f'{name} = :{name}' for name in _HOLDS)} WHERE {_WHERE} "
    # Epochs only grow, and offsets inside one: nothing that was changed since looks like this.
    "IF epoch = :known_epoch AND next_offset = :known_offset"
)
# A scan, but of a table with one row for each group and partition.
_OF_TOPIC = f"SELECT * FROM {TABLE} WHERE group_name = :group_name AND topic_id = :topic_id ALLOW FILTERING"


def prepare(link: CassandraSession) -> None:
    """Make the table where it is missing."""
    link.define(_CREATE)


def claim(link: CassandraSession, group: str, topic_id: str, partition: int, generation: int) -> Claim:
    """Refuse an older generation, else a new epoch. Raises Fenced, and Retryable when another one claims now."""
    position_key = _place(group, topic_id, partition)
    known = _read(link, position_key)
    if known is None:
        fresh = dict.fromkeys(_HOLDS, 0) | {"generation": generation, "epoch": 1, "marks": "{}"}
        _require(link.run(_FIRST, position_key | fresh))
        return Claim(1, 0, {})
    if known["generation"] > generation:
        raise older_generation(group, partition, generation, f"the table {TABLE}")
    epoch = known["epoch"] + 1
    _change(link, known, {"generation": generation, "epoch": epoch})
    return Claim(epoch, known["next_offset"], msgspec.json.decode(known["marks"], type=dict[str, int]))


def behind(link: CassandraSession, group: str, batch: CleanBatch) -> Found | None:
    """The position, when the batch has still to be written. Raises Fenced when the partition was claimed since."""
    known = _read(link, _place(group, batch.topic_id, batch.partition))
    if known is None or known["epoch"] != batch.epoch:
        raise older_epoch(group, batch)
    return known if known["next_offset"] < batch.next_offset else None


def advance(link: CassandraSession, known: Found, batch: CleanBatch) -> None:
    """Move the position that `behind` read, once the rows are durable.

    Raises Retryable when it was changed since: the next try is told by `behind` whether somebody has claimed it.
    """
    counts = {name: known[name] + count for name, count in counts_of(batch).items()}
    _change(link, known, {**counts, "next_offset": batch.next_offset, "marks": _text(batch.high_watermarks)})


def rewind(link: CassandraSession, group: str, topic_id: str, start: Start) -> None:
    """A new epoch at an earlier position; nothing where it is that early already. Raises Retryable as `advance`."""
    was = start.accounts
    known = _read(link, _place(group, topic_id, was.partition))
    if known is None or known["next_offset"] <= was.next_offset:
        return
    moved = {name: getattr(was, name) for name in ("next_offset", *_COUNTS)}
    _change(link, known, {**moved, "marks": _text(start.high_watermarks), "epoch": known["epoch"] + 1})


def accounts(link: CassandraSession, group: str, topic_id: str) -> Sequence[Accounts]:
    """One entry for each partition that was claimed, by number."""
    if not link.columns(TABLE):
        return []
    rows = link.run(_OF_TOPIC, {"group_name": group, "topic_id": topic_id})
    ordered = sorted(rows, key=lambda row: int(row["partition_number"]))
    return [Accounts(row["partition_number"], row["next_offset"], *(row[name] for name in _COUNTS)) for row in ordered]


def _place(group: str, topic_id: str, partition: int) -> dict[str, Any]:
    return {"group_name": group, "topic_id": topic_id, "partition_number": partition}


def _text(high_watermarks: Any) -> str:
    return msgspec.json.encode(dict(high_watermarks)).decode()


def _read(link: CassandraSession, position_key: Found) -> Found | None:
    """Serially, so that a change which is half done is done first."""
    rows = link.run(_READ, position_key, serial=True)
    return rows[0] if rows else None


def _change(link: CassandraSession, known: Found, changed: Found) -> None:
    conditions = {"known_epoch": known["epoch"], "known_offset": known["next_offset"]}
    _require(link.run(_CHANGE, {**known, **changed, **conditions}))


def _require(answer: Sequence[Found]) -> None:
    if not answer[0]["[applied]"]:
        raise Retryable("The position was changed by another deliverer at the same moment.")
