"""Following a registered subscription: what `clearwell.subscription` opens for a model."""

from __future__ import annotations

from contextlib import closing

from clearwell import settings
from clearwell.contract.load import find
from clearwell.kafka.log_client import KafkaLog
from clearwell.pipeline.clean import CleanCodec
from clearwell.registry import Registry, subscriptions
from clearwell.steps import bind
from clearwell.subscriptions.memory import Memory
from clearwell.subscriptions.subscription import Subscription


def follow(name: str, *, max_rows: int, idle: float | None, member: str | None) -> Subscription:
    """Open the registered subscription `name`; see `clearwell.subscription`."""
    platform = settings.load()
    with closing(Registry(platform.postgres)) as registry, registry.session() as session:
        registered = subscriptions.get(session, name)
    codec = CleanCodec(bind(find(platform.schemas, registered.stream, registered.version)).schema)
    return Subscription(
        name,
        KafkaLog(platform.kafka),
        codec,
        fields=registered.fields,
        max_rows=max_rows,
        idle=idle,
        member=member,
        memory=Memory(Registry(platform.postgres), name),
    )
