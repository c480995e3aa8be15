"""Delivering again from an earlier position: planned with how many events that means, then applied while paused.

Only a paused delivery is set back, under a lock that whoever pauses, resumes or replays it takes too. A position that
somebody else has set back meanwhile is in the way; one that has gone on is not: a pause takes two seconds to be seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol, cast

from sqlalchemy.orm import Session

from clearwell.contract.model import Contract
from clearwell.control.deliveries import find_delivery
from clearwell.control.platform import Actor, Platform
from clearwell.destinations.protocol import Accounts, Destination, Replayable, Start
from clearwell.errors import ConfigError, Hint
from clearwell.kafka import admin
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import clean_topic
from clearwell.plugins.open_destination import open_destination
from clearwell.reconciliation.earlier_accounts import PastAccounts
from clearwell.registry import audit, deliveries
from clearwell.registry.deliveries import Delivery
from clearwell.settings import Settings
from clearwell.steps import bind

Since = Mapping[int, int] | datetime | None
"""Where a replay begins: clean offsets by partition, the time events were cleaned, or the oldest event (None)."""

Report = Callable[[str, int, int], None]
"""Is told what is going on, how much of it is done, and of how much."""

_COUNTING = "counting what was delivered before"


def _silent(_what: str, _done: int, _total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class DestinationReplay:
    """Positions before and after, by partition; `events` were delivered since, and will be again.

    `redelivers`: whoever receives them gets them a second time. `starts` are the partitions that go back.
    """

    delivery: Delivery
    old: Mapping[int, int]
    new: Mapping[int, int]
    events: int
    redelivers: bool
    starts: Sequence[Start]


def plan_replay(
    platform: Platform,
    destination: str,
    stream: str | None,
    since: Since,
    *,
    while_running: bool = False,
    report: Report = _silent,
) -> DestinationReplay:
    """What setting a delivery back means. A partition that is not beyond `since` stays. Blocks.

    The accounts are those that the destination had there, counted from the log, so that the balance still adds up;
    `report` is told how far that is, in events. `while_running`: plan also what can't be applied before it is paused.
    Raises ConfigError where it isn't, where a stream is needed, and where the destination can't be set back.
    """
    contract, delivery = find_delivery(platform, destination, stream)
    offsets = _offsets(platform.settings.kafka, clean_topic(delivery.stream, delivery.version), since)
    if not while_running:
        with platform.looking() as session:
            _require_paused(session, delivery)
    return asyncio.run(_plan(platform.settings, contract, delivery, offsets, report))


def apply_replay(platform: Platform, actor: Actor, plan: DestinationReplay, *, redeliver: bool = False) -> None:
    """Set the delivery back as planned. Blocks.

    redeliver: the person agrees that events which are given away go out a second time. Raises ConfigError without
    that where it is so, when the delivery is not paused, and (code "plan_is_old") when another has set it back.
    """
    _require_agreement(plan, redeliver)
    contract, delivery = find_delivery(platform, plan.delivery.destination, plan.delivery.stream)
    with platform.changing(actor) as session:
        _require_paused(session, plan.delivery, for_update=True)
        destination, topic_id = _open(platform.settings, contract, delivery)
        try:
            _require_as_planned(plan, delivery, destination.accounts(topic_id))
            destination.rewind(topic_id, plan.starts)
        finally:
            destination.close()
        detail = {"events": plan.events, "to": {str(partition): offset for partition, offset in plan.new.items()}}
        audit.record(session, "replay", deliveries.target(delivery), detail)


async def _plan(
    settings: Settings, contract: Contract, delivery: Delivery, offsets: Mapping[int, int], report: Report
) -> DestinationReplay:
    destination, topic_id = _open(settings, contract, delivery)
    try:
        now = {accounts.partition: accounts for accounts in destination.accounts(topic_id)}
    finally:
        destination.close()
    earlier = {
        partition: offset
        for partition, offset in sorted(offsets.items())
        if partition in now and offset < now[partition].next_offset
    }
    route, counted = contract.route(delivery.destination), partial(report, _COUNTING)
    client = KafkaLog(settings.kafka)
    async with client.reader() as log:
        past = PastAccounts(client, log, contract, route, counted, sum(earlier.values()))
        starts = [await past.start(topic_id, now[partition], offset) for partition, offset in earlier.items()]
    again = sum(now[start.accounts.partition].delivered - start.accounts.delivered for start in starts)
    old = {partition: accounts.next_offset for partition, accounts in now.items()}
    return DestinationReplay(delivery, old, old | earlier, again, destination.redelivers, starts)


def _offsets(bootstrap: str, topic: str, since: Since) -> Mapping[int, int]:
    begins = admin.begin_offsets(bootstrap, topic)
    if since is None:
        return begins
    if isinstance(since, datetime):
        later = admin.offsets_at(bootstrap, topic, int(since.timestamp() * 1000))
        return {partition: offset for partition, offset in later.items() if offset is not None}
    unknown = since.keys() - begins.keys()
    if unknown:
        raise ConfigError(f"{topic} has no partition {min(unknown)}: there are 0 to {len(begins) - 1}.")
    return {partition: max(offset, begins[partition]) for partition, offset in since.items()}


class _ReplayableDestination(Destination, Replayable, Protocol):
    """A destination that can be set back."""


def _open(settings: Settings, contract: Contract, delivery: Delivery) -> tuple[_ReplayableDestination, str]:
    """The destination of a delivery, and the id of its clean topic."""
    route = contract.route(delivery.destination)
    destination = open_destination(settings, route, bind(contract).schema, delivery.group)
    if not isinstance(destination, Replayable):
        raise ConfigError(
            f"{route.to} can't be set back: its kind, {route.kind}, might show events twice. Deliver into an empty one "
            "instead, by a route to a destination of a new name, which starts at the oldest event.",
            code="not_replayable",
        )
    topic_id = admin.topic_id(settings.kafka, clean_topic(delivery.stream, delivery.version))
    return cast(_ReplayableDestination, destination), topic_id


def _require_paused(session: Session, delivery: Delivery, *, for_update: bool = False) -> None:
    if not deliveries.is_paused(session, delivery.group, for_update=for_update):
        raise ConfigError(
            f"{delivery.stream} to {delivery.destination} is not paused.",
            code="delivery_not_paused",
            hint=Hint("destinations.pause", delivery.destination),
        )


def _require_agreement(plan: DestinationReplay, redeliver: bool) -> None:
    if plan.redelivers and plan.starts and not redeliver:
        events = f"{plan.events:,} event{'' if plan.events == 1 else 's'}"
        raise ConfigError(
            f"{events} would be sent to {plan.delivery.destination} a second time, with the same ids: whoever receives "
            "them must drop what they have. Nothing was changed.",
            code="would_redeliver",
            hint=Hint("destinations.redeliver"),
        )


def _require_as_planned(plan: DestinationReplay, delivery: Delivery, now: Sequence[Accounts]) -> None:
    back = {
        accounts.partition: accounts.next_offset
        for accounts in now
        if accounts.next_offset < plan.old.get(accounts.partition, 0)
    }
    if delivery == plan.delivery and not back:
        return
    changes = [
        f"partition {partition} was at {plan.old[partition]:,}, and is at {at:,}" for partition, at in back.items()
    ]
    what = ", ".join(changes) or f"the contract is v{delivery.version} now, not v{plan.delivery.version}"
    raise ConfigError(
        f"{plan.delivery.stream} to {plan.delivery.destination} has changed since this was planned: {what}.",
        code="plan_is_old",
        hint=Hint("destinations.show", plan.delivery.destination),
    )
