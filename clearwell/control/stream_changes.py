"""More partitions for a stream: raw and all that is cleaned of it, since p of raw goes to p of clean (invariant 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clearwell.control.platform import Actor, Platform
from clearwell.control.streams import topics_of
from clearwell.errors import ConfigError, Hint
from clearwell.kafka import admin
from clearwell.registry import audit
from clearwell.registry.locks import lock


@dataclass(frozen=True, slots=True)
class PartitionsPlan:
    """Give the topics of a stream so many `partitions`; `before`: what they have, raw last."""

    stream: str
    before: Mapping[str, int]
    partitions: int

    @property
    def topics(self) -> list[str]:
        """Those that have fewer, in the order in which they get more."""
        return [topic for topic, count in self.before.items() if count < self.partitions]


def plan_partitions(platform: Platform, stream: str, partitions: int) -> PartitionsPlan:
    """Blocks. Raises ConfigError when the stream has no topics, or one has more: Kafka takes no partition away."""
    plan = PartitionsPlan(stream, topics_of(platform, stream), partitions)
    most = max(plan.before.values())
    if most > partitions:
        wide = ", ".join(topic for topic, count in plan.before.items() if count == most)
        raise ConfigError(
            f"{wide} has {most} partitions, and Kafka takes none away: say {most} or more.", code="fewer_partitions"
        )
    return plan


def add_partitions(platform: Platform, actor: Actor, plan: PartitionsPlan) -> None:
    """Carry a plan out, raw last: no event is where nothing takes it. Blocks; when it fails midway, do it again.

    Raises ConfigError when the topics have changed since it was planned, Retryable when Kafka does not answer.
    """
    target = f"stream/{plan.stream}"
    with platform.changing(actor) as session:
        lock(session, target)
        changed = [
            f"{topic} has {count}" for topic, count in (topics_of(platform, plan.stream).items() - plan.before.items())
        ]
        if changed:
            raise ConfigError(
                f"The topics of {plan.stream} have changed since this was planned: {', '.join(sorted(changed))}. Plan "
                "again.",
                code="plan_is_old",
                hint=Hint("streams.show", plan.stream),
            )
        for topic in plan.topics:
            admin.add_partitions(platform.settings.kafka, topic, plan.partitions)
        if plan.topics:
            detail = {topic: f"{plan.before[topic]} to {plan.partitions}" for topic in plan.topics}
            audit.record(session, "widen", target, detail)
