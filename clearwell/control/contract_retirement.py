"""Retiring contracts: the jobs of a stream end, and nothing is lost, since its events stay in its topics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy.orm import Session

from clearwell.control.contract_judgement import basis_of
from clearwell.control.contract_publication import derive_jobs, is_old
from clearwell.control.platform import Actor, Platform
from clearwell.errors import ClearwellError, ConfigError, Hint
from clearwell.kafka import groups
from clearwell.kafka.names import clean_topic, dead_topic, raw_topic
from clearwell.registry import audit, connectors, contracts, jobs
from clearwell.registry.connectors import State
from clearwell.registry.jobs import JobKind, JobSpec, WantedState
from clearwell.registry.locks import lock


class EndingJob(msgspec.Struct, frozen=True):
    """A job that would end. `waiting`: events that it has not worked off yet; None where Kafka could not be asked."""

    name: str
    waiting: int | None


@dataclass(frozen=True, slots=True)
class Retirement:
    """Versions of a stream to be retired, and the jobs that end by it; `basis` as a published plan has it.

    `version`: the one that was meant, None for all. `next_version`: whose jobs run instead, None where there is none.
    """

    stream: str
    version: int | None
    versions: Sequence[int]
    ending: Sequence[EndingJob]
    next_version: int | None
    basis: Sequence[tuple[int, int, bool]]


def plan_retire(platform: Platform, stream: str, version: int | None = None) -> Retirement:
    """Have a version, or all of a stream, no jobs any more. Blocks.

    Where an older version is left that is not retired, its jobs go on where they were. Raises ConfigError when nothing
    of the kind is published, or (code "stream_in_use") a connector would fill a stream that nothing reads.
    """
    with platform.looking() as session:
        published = contracts.revisions(session, stream)
        there = sorted({known.version for known in published if known.retired_at is None})
        versions = [number for number in there if version in (None, number)]
        if not versions:
            contracts.get(session, stream, version)
            raise _is_retired(stream, version)
        left = [number for number in there if number not in versions]
        if not left:
            _require_no_reader(session, stream)
        ends = there[-1] in versions
        specs = [job.spec for job in jobs.list_jobs(session, stream) if ends and job.wanted is not WantedState.ENDED]
    kafka = platform.settings.kafka
    ending = [EndingJob(spec.name, _waiting(kafka, spec)) for spec in specs if spec.name == spec.group]
    return Retirement(stream, version, versions, ending, left[-1] if left else None, basis_of(published))


def apply(platform: Platform, actor: Actor, plan: Retirement) -> None:
    """Retire it, in one transaction with its jobs and its audit.

    Raises ConfigError (code "plan_is_old") where another has published or retired meanwhile, and as `plan_retire`.
    """
    with platform.changing(actor) as session:
        lock(session, f"contract/{plan.stream}")
        if basis_of(contracts.revisions(session, plan.stream)) != plan.basis:
            raise is_old(plan.stream)
        if plan.next_version is None:
            _require_no_reader(session, plan.stream)
        for version in plan.versions:
            contracts.retire(session, plan.stream, version)
        ended = derive_jobs(session, plan.stream)
        for version in plan.versions:
            audit.record(session, "retire", contracts.target(plan.stream, version), {"ended": ended})


def _is_retired(stream: str, version: int | None) -> ConfigError:
    what = stream if version is None else f"{stream} v{version}"
    return ConfigError(f"{what} is retired already.", code="not_published", hint=Hint("contracts.publish", stream))


def _require_no_reader(session: Session, stream: str) -> None:
    """What a connector reads would wait in the raw topic until retention takes it."""
    running = [
        connector.name
        for connector in connectors.list_connectors(session)
        if connector.stream == stream and connector.state is State.RUNNING
    ]
    if running:
        raise ConfigError(
            f"{', '.join(running)} still {'brings' if len(running) == 1 else 'bring'} events into {stream}, which "
            "nothing would clean any more.",
            code="stream_in_use",
            hint=Hint("connectors.pause", running[0]),
        )


def _waiting(kafka: str, spec: JobSpec) -> int | None:
    match spec.kind:
        case JobKind.DELIVERER:
            topic = clean_topic(spec.stream, spec.version)
        case JobKind.DEAD_LETTERS:
            topic = dead_topic(spec.stream)
        case _:
            topic = raw_topic(spec.stream)
    try:
        return sum(position.lag for position in groups.positions(kafka, spec.group, topic))
    except ClearwellError:  # its topics are gone, or Kafka is away: it is retired all the same
        return None
