"""A stream removed: its jobs end, its contracts are retired, its connectors go, and where that is wanted its topics.

In two steps, since who reads or writes a stream must have let go before what it stands on is taken away: first nothing
of it is wanted any more, then, when no worker and no collector has anything of it, the rest goes. A removal that was
broken off between the two is done again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from clearwell.control import connector_changes
from clearwell.control.platform import Actor, Platform
from clearwell.control.stream_parts import StreamParts, all_streams, find_stream
from clearwell.control.stream_pauses import target
from clearwell.control.streams import readers_of, topics_of_stream
from clearwell.errors import ConfigError, Hint, Retryable
from clearwell.kafka import admin, groups
from clearwell.registry import audit, connectors, contracts, jobs, leases, subscriptions
from clearwell.registry.connectors import State as ConnectorState
from clearwell.registry.jobs import JobState
from clearwell.registry.leases import LeaseKind
from clearwell.registry.locks import lock

LET_GO_SECONDS = 4.0
"""How long workers and collectors may take to let go: they look at what is wanted every second or two."""

NOTICED_SECONDS = 1.5
"""After that collectors take no more requests for a paused connector that is sent its events: it has no lease."""


@dataclass(frozen=True, slots=True)
class StreamRemoval:
    """What goes with a stream: jobs, connectors, versions of its contract; topics, with what groups have read of them.

    `kept`: the topics that stay.
    """

    stream: str
    jobs: Sequence[str]
    connectors: Sequence[str]
    versions: Sequence[int]
    topics: Sequence[str]
    groups: Sequence[str]
    kept: Sequence[str]


def plan_removal(platform: Platform, stream: str, *, data: bool = False) -> StreamRemoval:
    """End a stream; `data`: delete its topics with every event in them too. Blocks.

    Raises ConfigError when there is no such stream (code "no_such_stream"), or a subscription reads it (code
    "stream_is_read"), Retryable when Kafka does not answer.
    """
    topics = topics_of_stream(platform.settings.kafka, stream)
    parts = _parts(platform, stream, has_topics=data and bool(topics))
    with platform.looking() as session:
        _require_unread(session, stream)
    return StreamRemoval(
        stream,
        _job_names(parts),
        [connector.name for connector in parts.connectors],
        parts.versions,
        topics if data else [],
        [*(group for group, _ in readers_of(platform, parts)), *_deliverers(parts)] if data else [],
        [] if data else topics,
    )


def remove(platform: Platform, actor: Actor, plan: StreamRemoval) -> None:
    """Carry a plan out. Blocks, at most some seconds.

    Raises ConfigError (code "plan_is_old") when other parts belong to the stream than when it was planned, as
    `plan_removal`, and as a source's `dispose`; Retryable when somebody does not let go, and a repetition will help.
    """
    with platform.changing(actor) as session:
        ran = _end(platform, session, plan)
    _wait_until_let_go(platform, plan, NOTICED_SECONDS if ran and plan.topics else 0.0)
    with platform.changing(actor) as session:
        ended = [job.spec.name for job in jobs.list_jobs(session, plan.stream)]
        leases.forget(session, ended, LeaseKind.JOB)
        jobs.forget(session, ended)
        for name in plan.connectors:
            connector_changes.remove(session, connector_changes.removal_of(session, name))
    kafka = platform.settings.kafka
    if plan.topics:
        admin.delete_topics(kafka, plan.topics)
        for group in plan.groups:
            groups.delete(kafka, group)


def _end(platform: Platform, session: Session, plan: StreamRemoval) -> bool:
    """Want nothing of the stream any more; returns whether a connector ran."""
    lock(session, target(plan.stream))
    lock(session, f"contract/{plan.stream}")  # as whoever publishes or retires one
    parts = _parts(platform, plan.stream, has_topics=bool(plan.topics))
    _require_unread(session, plan.stream)
    now = (_job_names(parts), [connector.name for connector in parts.connectors], parts.versions)
    if now != (plan.jobs, plan.connectors, plan.versions):
        raise ConfigError(
            f'The stream "{plan.stream}" has other jobs, connectors or contracts than were planned for. Plan again.',
            code="plan_is_old",
            hint=Hint("streams.show", plan.stream),
        )
    running = [
        name
        for name in plan.connectors
        if connectors.get(session, name, for_update=True).state is ConnectorState.RUNNING
    ]
    for name in running:
        connectors.set_state(session, name, ConnectorState.PAUSED, "pause")
    contracts.retire(session, plan.stream)
    for version in plan.versions:
        audit.record(session, "retire", contracts.target(plan.stream, version))
    jobs.end(session, plan.stream)
    detail = {"connectors": list(plan.connectors), "versions": list(plan.versions), "topics": list(plan.topics)}
    audit.record(session, "remove", target(plan.stream), detail)
    return bool(running)


def _wait_until_let_go(platform: Platform, plan: StreamRemoval, at_least: float) -> None:
    until = time.monotonic() + LET_GO_SECONDS
    time.sleep(at_least)
    while held := _holders(platform, plan):
        if time.monotonic() > until:
            raise Retryable(
                f"{', '.join(sorted(held))} did not let go of the stream {plan.stream} within {LET_GO_SECONDS:.0f} s; "
                "nothing of it runs from then on. Remove it again."
            )
        time.sleep(0.05)


def _holders(platform: Platform, plan: StreamRemoval) -> Collection[str]:
    with platform.looking() as session:
        ended = [job.spec.name for job in jobs.list_jobs(session, plan.stream)]
        held = [
            *leases.holders(session, ended, LeaseKind.JOB).values(),
            *leases.holders(session, plan.connectors).values(),
        ]
    return {holder.process for holder in held}


def _parts(platform: Platform, stream: str, *, has_topics: bool) -> StreamParts:
    """What belongs to a stream. Topics alone are enough of one: a removal that was broken off is done again."""
    if has_topics:
        return next((parts for parts in all_streams(platform) if parts.name == stream), StreamParts(stream, False))
    return find_stream(platform, stream)


def _job_names(parts: StreamParts) -> list[str]:
    """Those that are to run, or paused; one that ends may still be held by its worker."""
    return [job.name for job in parts.jobs if job.state is not JobState.ENDED]


def _deliverers(parts: StreamParts) -> list[str]:
    return sorted({job.name.partition("#")[0] for job in parts.jobs if job.destination})


def _require_unread(session: Session, stream: str) -> None:
    readers = [model.name for model in subscriptions.list_subscriptions(session) if model.stream == stream]
    if readers:
        raise ConfigError(
            f'The stream "{stream}" is read by {", ".join(readers)}: its models would stop.',
            code="stream_is_read",
            hint=Hint("subscriptions.remove", readers[0]),
        )
