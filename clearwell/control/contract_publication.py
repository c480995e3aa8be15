"""Publishing contracts: planned first, so that a dry run says what would follow, then applied.

What is published is what workers and collectors go by. Jobs follow in the same transaction: the newest version of a
stream that is not retired has its jobs, and no other has.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from sqlalchemy.orm import Session

from clearwell.contract.load import parse, read
from clearwell.contract.model import Contract, Route
from clearwell.contract.routes import check_shared
from clearwell.control import stream_pauses
from clearwell.control.contract_judgement import Outcome, PlannedContract, basis_of, judge, refused_file
from clearwell.control.platform import Actor, Platform
from clearwell.errors import ConfigError, ContractError, Hint
from clearwell.kafka import admin
from clearwell.plugins.kinds import destination_class
from clearwell.registry import audit, contracts, destinations, jobs
from clearwell.registry.contracts import PublishedContract
from clearwell.registry.locks import lock


@dataclass(frozen=True, slots=True)
class Publication:
    """What would become of each file, by stream and version."""

    contracts: Sequence[PlannedContract]

    @property
    def refused(self) -> Sequence[PlannedContract]:
        """Those that would not be published."""
        return [planned for planned in self.contracts if planned.outcome is Outcome.REFUSED]


def plan_publish(platform: Platform, files: Sequence[Path], *, minor: bool = False) -> Publication:
    """Check the files as a contract check does, and beside what is published. Blocks.

    `minor`: a text that has changed in place is to be a new revision where readers can read it. What is wrong with a
    file refuses that file alone. Raises as `Registry.session`.
    """
    with platform.looking() as session:
        plans: list[PlannedContract] = []
        for path in sorted(files, key=lambda path: (path.absolute().parent.name, len(path.name), path.name)):
            plans.append(_plan(session, path, plans, minor))
        return Publication(_refuse_shared(session, plans))


def apply(platform: Platform, actor: Actor, plan: Publication) -> None:
    """Publish what is not refused, a stream after the other, each in a transaction with its jobs and its audit. Blocks.

    Raises ConfigError (code "plan_is_old") where another has published the stream meanwhile, and as
    `kafka.admin.ensure_topics`; the streams before that one are published then.
    """
    accepted = [planned for planned in plan.contracts if planned.outcome is not Outcome.REFUSED]
    for stream, planned in groupby(accepted, lambda planned: planned.stream):
        publish_stream(platform, actor, stream, list(planned))


def publish_stream(platform: Platform, actor: Actor, stream: str, plans: Sequence[PlannedContract]) -> None:
    """What `apply` does for one stream. Topics come before the rows: whoever takes a job finds them."""
    for planned in plans:
        admin.ensure_topics(platform.settings.kafka, stream, planned.version)
    if not any(planned.changes for planned in plans):
        return
    with platform.changing(actor) as session:
        lock(session, f"contract/{stream}")
        if basis_of(contracts.revisions(session, stream)) != plans[0].basis:
            raise is_old(stream)
        for planned in plans:
            if planned.changes:
                _publish(session, planned)
        derive_jobs(session, stream)


def derive_jobs(session: Session, stream: str) -> list[str]:
    """Have the jobs of a stream be those of its newest version that is not retired; returns the names that end by it.

    Those of a stream that is paused are paused too. Raises ContractError where this release can't read that version.
    """
    newest = contracts.newest(session, stream)
    if newest is None:
        return jobs.end(session, stream)
    was_paused = stream_pauses.is_paused(session, stream)
    ended = jobs.derive(session, newest.contract(), newest.revision)
    if was_paused:
        stream_pauses.keep_paused(session, stream)
    return ended


def is_old(stream: str) -> ConfigError:
    """Somebody else was faster."""
    return ConfigError(
        f"Another has published or retired a contract of {stream} since this was planned. Look at it, and plan again.",
        code="plan_is_old",
        hint=Hint("contracts.show", stream),
    )


def _publish(session: Session, planned: PlannedContract) -> None:
    """Also a new revision of a retired version has it be there again."""
    stream, version = planned.stream, planned.version
    contracts.restore(session, stream, version)
    is_new = planned.outcome is not Outcome.RESTORED
    if is_new and not contracts.publish(session, stream, version, planned.revision, planned.text):
        raise is_old(stream)
    detail = {"outcome": planned.outcome, "revision": planned.revision, "digest": planned.digest}
    audit.record(session, "publish", contracts.target(stream, version), detail)


def _plan(session: Session, path: Path, before: Sequence[PlannedContract], minor: bool) -> PlannedContract:
    """Beside what will be published by the time that this file's turn has come."""
    try:
        text = read(path)
    except ContractError as error:
        return refused_file(path, error)
    stream = path.absolute().parent.name
    published = contracts.revisions(session, stream)
    earlier = [planned for planned in before if planned.stream == stream and planned.changes]
    planned = replace(judge(path, text, _with(published, earlier), minor=minor), basis=basis_of(published))
    if planned.outcome is Outcome.REFUSED:
        return planned
    missing = _unregistered(session, parse(text, str(path)))
    warnings = [f"{to} is not registered: its deliverer waits until it is." for to in missing]
    return replace(planned, warnings=(*planned.warnings, *warnings))


def _with(published: Sequence[PublishedContract], earlier: Sequence[PlannedContract]) -> list[PublishedContract]:
    """What will be published of a stream, by version and revision, once `earlier` is applied."""
    restored = {planned.version for planned in earlier}
    known = [replace(contract, retired_at=None) if contract.version in restored else contract for contract in published]
    now = datetime.now(UTC)
    known += [
        PublishedContract(planned.stream, planned.version, planned.revision, planned.digest, planned.text, now, None)
        for planned in earlier
        if planned.outcome is not Outcome.RESTORED
    ]
    return sorted(known, key=lambda contract: (contract.version, contract.revision))


def _unregistered(session: Session, contract: Contract) -> list[str]:
    """Destinations of a contract's routes that nobody has registered."""
    return [route.to for route in contract.routes if not _is_registered(session, route)]


def _is_registered(session: Session, route: Route) -> bool:
    """Whether its destination can be opened: registered, or the platform's own. A kind that can't be loaded is not."""
    try:
        kind = destination_class(route.kind)
        if kind.registered and route.name is not None:
            return destinations.find(session, route.kind, route.name) is not None
        kind.Config()
    except (ConfigError, TypeError):  # msgspec's, where the platform has none of its own: a required field is missing
        return False
    return True


def _refuse_shared(session: Session, plans: Sequence[PlannedContract]) -> list[PlannedContract]:
    """Refuse what would write into a table that another stream fills, published or planned before it."""
    others: dict[str, Contract] = {}
    for known in contracts.current(session):
        with suppress(ContractError):  # of a newer release: told by whoever reads it
            others[known.stream] = known.contract()
    judged: list[PlannedContract] = []
    for planned in plans:
        if planned.outcome is not Outcome.REFUSED:
            contract = parse(planned.text, planned.file)
            try:
                for other in others.values():  # in pairs: what is wrong between two others is not this one's fault
                    check_shared([other, contract])
                others[planned.stream] = contract
            except ContractError as error:
                planned = replace(planned, outcome=Outcome.REFUSED, refusal=error)
        judged.append(planned)
    return judged
