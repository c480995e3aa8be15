"""Where each group is in each clean partition, one document each, in the same database as the rows (invariant 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import ReturnDocument, errors
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern

from clearwell.destinations.fencing import older_epoch, older_generation
from clearwell.destinations.protocol import Accounts, Claim, CleanBatch, Start, counts_of
from clearwell.errors import Retryable

COLLECTION = "clearwell_delivery"

Positions = Collection[dict[str, Any]]


def claim(positions: Positions, group: str, topic_id: str, partition: int, generation: int) -> Claim:
    """One atomic findAndModify: refuse an older generation, else a new epoch. Raises Fenced."""
    older_claim = {"_id": _id(group, topic_id, partition), "generation": {"$lte": generation}}
    fresh = {"next_offset": 0, "marks": {}, "delivered": 0, "unrouted": 0, "repeats": 0, "refused": 0}
    named = {"group": group, "topic_id": topic_id, "partition": partition}
    change = {
        "$set": {"generation": generation, "updated_at": datetime.now(UTC)},
        "$inc": {"epoch": 1},
        "$setOnInsert": fresh | named,
    }
    try:
        document = positions.find_one_and_update(older_claim, change, upsert=True, return_document=ReturnDocument.AFTER)
    except errors.DuplicateKeyError:  # the document is there and its generation is later, or it was just made
        known = positions.find_one({"_id": older_claim["_id"]})
        if known is not None and known["generation"] > generation:
            raise older_generation(group, partition, generation, f"the collection {COLLECTION}") from None
        raise Retryable(f"Partition {partition} of {group} is being claimed by two deliverers at once.") from None
    if document is None:  # an upsert that returns the document after it always has one
        raise Retryable(f"Partition {partition} of {group} was deleted while it was claimed.")
    return Claim(document["epoch"], document["next_offset"], document["marks"])


def is_behind(positions: Positions, group: str, batch: CleanBatch) -> bool:
    """Whether the batch has still to be written. Raises Fenced when the partition was claimed since."""
    known = _read(positions, group, batch)
    if known is None or known["epoch"] != batch.epoch:
        raise older_epoch(group, batch)
    return bool(known["next_offset"] < batch.next_offset)


def advance(positions: Positions, group: str, batch: CleanBatch) -> None:
    """Move the position, once the rows are durable. Raises Fenced when the partition was claimed since."""
    mine = {"_id": _id(group, batch.topic_id, batch.partition), "epoch": batch.epoch}
    behind = mine | {"next_offset": {"$lt": batch.next_offset}}
    counted = counts_of(batch)
    moved = {"next_offset": batch.next_offset, "marks": dict(batch.high_watermarks), "updated_at": datetime.now(UTC)}
    if positions.update_one(behind, {"$set": moved, "$inc": counted}).matched_count:
        return
    if is_behind(positions, group, batch):
        raise Retryable(f"The position of partition {batch.partition} of {group} is not yet held by a majority.")


def rewind(positions: Positions, group: str, topic_id: str, start: Start) -> None:
    """A new epoch at an earlier position; nothing where it is that early already."""
    was = start.accounts
    later = {"_id": _id(group, topic_id, was.partition), "next_offset": {"$gt": was.next_offset}}
    counts = {name: getattr(was, name) for name in ("delivered", "unrouted", "repeats", "refused")}
    moved = {"next_offset": was.next_offset, "marks": dict(start.high_watermarks), "updated_at": datetime.now(UTC)}
    positions.update_one(later, {"$set": moved | counts, "$inc": {"epoch": 1}})


def accounts(positions: Positions, group: str, topic_id: str) -> Sequence[Accounts]:
    """One entry for each partition that was claimed, by number."""
    documents = positions.find({"group": group, "topic_id": topic_id}).sort("partition")
    return [
        Accounts(
            document["partition"],
            document["next_offset"],
            document["delivered"],
            document["unrouted"],
            document["repeats"],
            document.get("refused", 0),
        )
        for document in documents
    ]


def _read(positions: Positions, group: str, batch: CleanBatch) -> Mapping[str, Any] | None:
    durable = positions.with_options(read_concern=ReadConcern("majority"))
    return durable.find_one({"_id": _id(group, batch.topic_id, batch.partition)})


def _id(group: str, topic_id: str, partition: int) -> str:
    return f"position/{group}/{topic_id}/{partition}"
