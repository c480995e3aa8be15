"""What a worker and the registry tell each other, once a second, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from clearwell.registry import jobs, leases
from clearwell.registry.jobs import JobReport, RegisteredJob, WantedState
from clearwell.registry.leases import LeaseKind, Load, PeerLoad
from services.leases import HeldLease
from services.worker.placement import choose

MOST_UNSTARTED = 16
"""Jobs that a worker takes before the ones it has are started: others that start beside it get their share."""


NONE_TAKEN = MOST_UNSTARTED
"""As `News.unstarted`: no further job is taken."""


@dataclass(frozen=True, slots=True)
class Release:
    """A lease that is given back: how the job is now, and the id of the worker that alone may have it next."""

    report: JobReport | None
    offer_to: str | None


@dataclass(frozen=True, slots=True)
class News:
    """What the worker tells: its load, how its jobs are, which leases it has given back, whom it offers a job."""

    load: Load
    reports: Sequence[JobReport]
    unstarted: int
    alone: Mapping[str, str]
    released: Mapping[str, Release]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the registry says; `asked` is when, by `time.monotonic`.

    `renewed`: the leases that are still ours; None: it was not time to renew. `jobs` is None while nothing has changed.
    """

    asked: float
    renewed: Collection[str] | None
    taken: Mapping[str, int]
    share: int
    jobs: Mapping[str, RegisteredJob] | None
    draining: bool
    me: str
    workers: Sequence[PeerLoad]


class RegistryExchange:
    """Keeps the leases of one worker. `ask` blocks, and is called in a thread; the rest belongs to the event loop."""

    def __init__(self, me: str, name: str, seconds: float, only: str | None = None) -> None:
        """`seconds`: how long a lease lasts that is not renewed. `only`: the one stream that is served; None: all."""
        self.held: dict[str, HeldLease] = {}
        self._me = me
        self._name = name
        self._scope = only or ""
        self._seconds = seconds
        self._fingerprint = ""
        self._jobs: dict[str, RegisteredJob] = {}
        self._renewed_at = float("-inf")

    def ask(self, session: Session, news: News) -> Answer:
        """Give a sign of life, tell how the jobs are, renew leases, and take as many free ones as are our share."""
        asked = time.monotonic()
        held = {name: lease.epoch for name, lease in self.held.copy().items() if name not in news.released}
        draining = leases.beat(session, self._me, self._name, self._scope, LeaseKind.JOB, news.load)
        for name, why in news.alone.items():
            jobs.put_alone(session, name, why)
        jobs.report(session, news.reports)
        self._release(session, news.released)
        renewed: Collection[str] | None = None
        if held and asked - self._renewed_at > self._seconds / 4:
            renewed = leases.renew(session, self._me, held.items(), self._seconds, LeaseKind.JOB)
            self._renewed_at = asked
        fingerprint = jobs.fingerprint(session)
        changed = fingerprint != self._fingerprint
        if changed:
            self._fingerprint = fingerprint
            self._list(session)
        wanted = [name for name, job in self._jobs.items() if job.wanted is WantedState.RUNNING]
        share = leases.share(session, self._me, self._scope, len(wanted), self._seconds, LeaseKind.JOB)
        workers = leases.loads(session, LeaseKind.JOB, self._scope, self._seconds)
        offers = self._offers(wanted, {worker.id for worker in workers})
        taken = self._take(session, wanted, held, offers, share - len(held), MOST_UNSTARTED - news.unstarted)
        if taken:
            self._list(session)  # anew: how they are, their last worker has told meanwhile
        return Answer(
            asked, renewed, taken, share, self._jobs if changed or taken else None, draining, self._me, workers
        )

    def learn(self, answer: Answer) -> list[str]:
        """Take in what was asked; returns the names of what has gone to another worker.

        A lease that could not be renewed because the registry was away is still ours when it is back, unless another
        has taken it: meanwhile data flows on, for Kafka and the destinations tell owners apart by themselves.
        """
        for name in answer.renewed or ():
            if name in self.held:
                self.held[name].until = answer.asked + self._seconds
        lost = [name for name, lease in self.held.items() if answer.renewed is not None and answer.asked > lease.until]
        for name, epoch in answer.taken.items():
            self.held[name] = HeldLease(epoch, answer.asked + self._seconds, 0.0)
        return lost

    def _release(self, session: Session, released: Mapping[str, Release]) -> None:
        """Let others have jobs at once."""
        for name, release in released.items():
            lease = self.held.get(name)
            if lease is None:
                continue
            if release.report is not None:
                jobs.report(session, [release.report])
            jobs.offer(session, name, release.offer_to)
            leases.release(session, self._me, name, lease.epoch, LeaseKind.JOB)

    def forget(self, name: str) -> None:
        """The lease is no longer ours."""
        self.held.pop(name, None)

    def leave(self, session: Session) -> None:
        """The worker ends."""
        leases.leave(session, self._me)

    def _list(self, session: Session) -> None:
        self._jobs = {job.spec.name: job for job in jobs.list_jobs(session) if self._scope in ("", job.spec.stream)}

    def _offers(self, wanted: Sequence[str], workers: Collection[str]) -> dict[str, str]:
        """To whom jobs are offered that can take them; what is offered to any other is anybody's."""
        to = {name: self._jobs[name].offered_to for name in wanted}
        return {name: worker for name, worker in to.items() if worker in workers and worker is not None}

    def _take(
        self,
        session: Session,
        wanted: Sequence[str],
        held: Mapping[str, int],
        offers: Mapping[str, str],
        room: int,
        most: int,
    ) -> dict[str, int]:
        """What is offered to us is taken beyond our share: we give what sleeps for it."""
        if most <= 0 or (leases.count(session, LeaseKind.JOB) >= len(wanted) and self._scope == ""):
            return {}
        others = [name for name in wanted if name not in held]
        ours = [name for name in others if offers.get(name) == self._me]
        taken = leases.take(session, self._me, ours, most, self._seconds, LeaseKind.JOB)
        room = min(room, most) - len(taken)
        if room > 0:
            free = leases.free(session, self._me, [name for name in others if name not in offers], LeaseKind.JOB)
            beside = (self._jobs[name].spec for name in (*held, *taken) if name in self._jobs)
            chosen = choose((self._jobs[name].spec for name in free), beside, room)
            taken |= leases.take(session, self._me, chosen, room, self._seconds, LeaseKind.JOB)
        for name in taken:
            if self._jobs[name].offered_to is not None:
                jobs.offer(session, name, None)
        return taken
