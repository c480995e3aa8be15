"""More partitions for a stream: raw and all that is cleaned of it, since p of raw goes to p of clean (invariant 3)."""

from __future__ import annotations

import re

from clearwell.errors import ConfigError
from clearwell.kafka import admin, names


def sizes(bootstrap: str, stream: str) -> dict[str, int]:
    """Topic of the stream → its partitions: clean of every version, dropped, dead, and raw, the last one.

    Raises ConfigError when there is no raw topic, Retryable when Kafka does not answer.
    """
    topics = set(admin.ask(bootstrap, "listing topics", lambda client: client.list_topics()))
    raw = names.raw_topic(stream)
    if raw not in topics:
        raise ConfigError(f"The stream {stream} has no topic {raw}: run `clearwell up`, or register a connector.")
    is_clean = re.compile(re.escape(names.clean_topic(stream, 0)[:-1]) + r"[0-9]+")
    clean = sorted(topic for topic in topics if is_clean.fullmatch(topic))
    beside = [topic for topic in (names.dropped_topic(stream), names.dead_topic(stream)) if topic in topics]
    return {topic: admin.partition_count(bootstrap, topic) for topic in (*clean, *beside, raw)}


def widen(bootstrap: str, before: dict[str, int], partitions: int) -> list[str]:
    """Give the topics of `sizes` so many partitions, raw last: no event is where nothing takes it. Again is harmless.

    Returns the topics that were changed. Raises ConfigError where one has more: Kafka takes no partition away.
    """
    narrow = narrower(before, partitions)
    for topic in narrow:
        _widen_topic(bootstrap, topic, partitions)
    return narrow


def _widen_topic(bootstrap: str, topic: str, partitions: int) -> None:
    admin.ask(bootstrap, f"adding partitions to {topic}", lambda client: client.create_partitions({topic: partitions}))


def narrower(before: dict[str, int], partitions: int) -> list[str]:
    """Those of `sizes` with fewer partitions, in order. Raises ConfigError where one has more."""
    most = max(before.values())
    if most > partitions:
        wide = ", ".join(topic for topic, size in before.items() if size == most)
        raise ConfigError(f"{wide} has {most} partitions, and Kafka takes none away: say {most} or more.")
    return [topic for topic, size in before.items() if size < partitions]
