"""What consumer groups have committed."""

from __future__ import annotations

from clearwell.kafka.admin import ask


def committed(bootstrap: str, group: str, topic: str) -> dict[int, tuple[int, str]]:
    """Partition → (next offset, metadata stored beside it) of a group; empty when it never committed.

    Blocks. Raises Retryable when Kafka does not answer.
    """
    found = ask(bootstrap, f"reading the offsets of {group}", lambda client: client.list_group_offsets([group]))
    return {
        place.partition: (known.offset, known.metadata or "")
        for place, known in found[group].items()
        if place.topic == topic and known.offset >= 0
    }
