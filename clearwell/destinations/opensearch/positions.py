"""Where each group is in each clean partition: a document each, in an index beside the rows' (invariant 4).

Every change names the sequence number and the primary term that were read, so that of two writers one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy import exceptions as errors

from clearwell.destinations.fencing import older_epoch, older_generation
from clearwell.destinations.opensearch.documents import document_id
from clearwell.destinations.opensearch.index import create
from clearwell.destinations.protocol import Accounts, Claim, CleanBatch, Start, counts_of
from clearwell.errors import Retryable

INDEX = "clearwell_positions"
_COUNTS = ("delivered", "unrouted", "repeats", "refused")
_MOST = 10_000  # hits, of one search; a topic with more partitions is not known


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """A position as it was read: what it holds, and by what it is told from later ones."""

    name: str
    holds: Mapping[str, Any]
    version: Mapping[str, int]


def prepare(client: OpenSearch) -> None:
    """Make the index where it is missing. Only what is searched for is indexed; the rest is kept."""
    searched = {"group": {"type": "keyword"}, "topic_id": {"type": "keyword"}, "partition": {"type": "integer"}}
    create(client, INDEX, {"dynamic": False, "properties": searched})


def claim(client: OpenSearch, group: str, topic_id: str, partition: int, generation: int) -> Claim:
    """Refuse an older generation, else a new epoch. Raises Fenced, and Retryable when another one claims now."""
    name = document_id(f"{group}/{topic_id}/{partition}")
    known = _read(client, name)
    if known is None:
        fresh = {"group": group, "topic_id": topic_id, "partition": partition, "next_offset": 0, "marks": {}}
        holds = fresh | dict.fromkeys(_COUNTS, 0) | {"epoch": 1, "generation": generation}
        _put(client, StoredPosition(name, {}, {}), holds, op_type="create")
        return Claim(1, 0, {})
    if known.holds["generation"] > generation:
        raise older_generation(group, partition, generation, f"the index {INDEX}")
    epoch = known.holds["epoch"] + 1
    _put(client, known, {**known.holds, "epoch": epoch, "generation": generation})
    return Claim(epoch, known.holds["next_offset"], known.holds["marks"])


def behind(client: OpenSearch, group: str, batch: CleanBatch) -> StoredPosition | None:
    """The position, when the batch has still to be written. Raises Fenced when the partition was claimed since."""
    known = _read(client, document_id(f"{group}/{batch.topic_id}/{batch.partition}"))
    if known is None or known.holds["epoch"] != batch.epoch:
        raise older_epoch(group, batch)
    return known if known.holds["next_offset"] < batch.next_offset else None


def advance(client: OpenSearch, known: StoredPosition, batch: CleanBatch) -> None:
    """Move the position that `behind` read, once the rows are durable.

    Raises Retryable when it was changed since: the next try is told by `behind` whether somebody has claimed it.
    """
    counts = {name: known.holds[name] + count for name, count in counts_of(batch).items()}
    _put(
        client, known, {**known.holds, **counts, "next_offset": batch.next_offset, "marks": dict(batch.high_watermarks)}
    )


def rewind(client: OpenSearch, group: str, topic_id: str, start: Start) -> None:
    """A new epoch at an earlier position; nothing where it is that early already. Raises Retryable as `advance`."""
    was = start.accounts
    known = _read(client, document_id(f"{group}/{topic_id}/{was.partition}"))
    if known is None or known.holds["next_offset"] <= was.next_offset:
        return
    moved = {name: getattr(was, name) for name in ("next_offset", *_COUNTS)}
    _put(
        client, known, {**known.holds, **moved, "marks": dict(start.high_watermarks), "epoch": known.holds["epoch"] + 1}
    )


def accounts(client: OpenSearch, group: str, topic_id: str) -> Sequence[Accounts]:
    """One entry for each partition that was claimed, by number."""
    client.indices.refresh(index=INDEX, params={"ignore_unavailable": "true"})
    mine = [{"term": {"group": group}}, {"term": {"topic_id": topic_id}}]
    query = {"query": {"bool": {"filter": mine}}, "sort": ["partition"], "size": _MOST}
    answer = client.search(index=INDEX, body=query, params={"ignore_unavailable": "true"})
    held = [hit["_source"] for hit in answer["hits"]["hits"]]
    return [
        Accounts(position["partition"], position["next_offset"], *(position[name] for name in _COUNTS))
        for position in held
    ]


def _read(client: OpenSearch, name: str) -> StoredPosition | None:
    """By its id, so that it is the newest one: only searches lag."""
    try:
        document = client.get(index=INDEX, id=name)
    except errors.NotFoundError:
        return None
    return StoredPosition(
        name, document["_source"], {"if_seq_no": document["_seq_no"], "if_primary_term": document["_primary_term"]}
    )


def _put(client: OpenSearch, known: StoredPosition, holds: Mapping[str, Any], **how: str) -> None:
    try:
        client.index(index=INDEX, id=known.name, body=holds, params={**known.version, **how})
    except errors.ConflictError:
        raise Retryable("The position was changed by another deliverer at the same moment.") from None
