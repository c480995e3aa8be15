"""A clean event as a CloudEvent (1.0), for receivers outside of Clearwell: webhooks and other clusters' topics.

Its id is where it comes from in raw: topic id, partition, offset (invariant 3). The same event has the same id whoever
sends it and however often, so a receiver that remembers ids, or the highest offset of each topic id and partition,
drops repeats. Nothing personal is in it (invariant 9).
"""

from __future__ import annotations

from clearwell.contract.model import CleanSchema
from clearwell.destinations.protocol import CleanBatch

JSON = "application/json"


def id_of(batch: CleanBatch, index: int) -> str:
    """The id of one event of a batch: "<raw topic id>/<raw partition>/<raw offset>"."""
    return f"{batch.raw_topics[index]}/{batch.partition}/{batch.raw_offsets[index]}"


def attributes_of(schema: CleanSchema) -> dict[str, str]:
    """What is the same for all events of a stream."""
    return {
        "specversion": "1.0",
        "source": f"/streams/{schema.stream}",
        "type": f"clearwell.{schema.stream}",
        "dataschema": f"{schema.stream}/v{schema.version}",
    }
