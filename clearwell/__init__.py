"""Clearwell: what a model team imports. `import clearwell` is quick; drivers are loaded when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clearwell.subscriptions.subscription import Subscription

__all__ = ["subscription"]


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
    from clearwell.subscriptions.registered import follow

    return follow(name, max_rows=max_rows, idle=idle, member=member)
