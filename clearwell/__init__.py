"""Clearwell: what a model team imports. `import clearwell` is quick; drivers are loaded when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clearwell.subscriptions.subscription import Subscription

__all__ = ["kafka_options", "subscription"]


def subscription(
    name: str, *, max_rows: int = 5_000, idle: float | None = None, member: str | None = None
) -> Subscription:
    """Follow a clean topic as the model `name`, which `clearwell subscribe` has registered.

        for batch in clearwell.subscription("delay-model"):
            learn(batch.dicts())
            batch.commit()

    A batch holds up to `max_rows` events of one partition. Iteration waits for more for ever, or ends after `idle`
    seconds without events. Processes of the same name share the partitions; `member` names one of them, see
    `Subscription`. Raises ConfigError when there is no such subscription, Retryable when a server does not answer.
    """
    from clearwell.subscriptions.follow import follow

    return follow(name, max_rows=max_rows, idle=idle, member=member)


def kafka_options() -> dict[str, Any]:
    """Address and login of this data folder's Kafka, as keywords of kafka-python's and aiokafka's clients.

        producer = KafkaProducer(**clearwell.kafka_options())

    Raises ConfigError when no stack runs, and none is named.
    """
    from clearwell import settings
    from clearwell.kafka.security import security_of

    address = settings.load().kafka
    return {"bootstrap_servers": address.split(","), **security_of(address).client_options()}
