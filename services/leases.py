"""The leases that this collector holds, and until when by its own clock."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from clearwell.registry import leases
from clearwell.registry.leases import NO_LOAD, Load

GRACE = 0.3
"""Part of a lease that is left when its holder stops reading by itself, because it could not renew it."""


@dataclass(slots=True)
class HeldLease:
    """A lease as its holder sees it; `until` is of `time.monotonic`, and earlier than Postgres' end of it."""

    epoch: int
    until: float
    grace: float

    def over(self) -> bool:
        """Whether reading must end now, to have ended before the lease does."""
        return time.monotonic() > self.until - self.grace

    def end(self) -> None:
        """The lease has gone to another."""
        self.until = float("-inf")


@dataclass(frozen=True, slots=True)
class Answer:
    """What Postgres said: renewed and newly taken leases, how many to hold, whether to give all away.

    `asked` is when, by `time.monotonic`; `lost`: those that were held and can't be renewed.
    """

    asked: float
    renewed: Collection[str]
    taken: Mapping[str, int]
    share: int
    draining: bool = False
    lost: int = 0


class Leases:
    """`ask` talks to Postgres in a thread; `learn` and all else belong to the event loop."""

    def __init__(self, seconds: float, scope: str = "") -> None:
        """`scope`: see `clearwell.registry.leases.beat`."""
        self.held: dict[str, HeldLease] = {}
        self._me = uuid.uuid4().hex
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._scope = scope
        self._seconds = seconds

    def ask(self, session: Session, names: Collection[str], load: Load = NO_LOAD) -> Answer:
        """Give a sign of life, renew what is held, and take of the connectors `names` as many as are our share."""
        held = {name: lease.epoch for name, lease in self.held.copy().items()}
        asked = time.monotonic()
        draining = leases.beat(session, self._me, self._name, self._scope, load=load)
        renewed = leases.renew(session, self._me, held.items(), self._seconds) if held else set()
        share = leases.share(session, self._me, self._scope, len(names), self._seconds)
        others = [name for name in names if name not in held]
        taken = leases.take(session, self._me, others, share - len(held.keys() & set(names)), self._seconds)
        return Answer(asked, renewed, taken, share, draining, len(held.keys() - renewed))

    def learn(self, answer: Answer) -> None:
        """Take in what was asked: what was not renewed runs out, or has gone to another."""
        for name in answer.renewed:
            if name in self.held:
                self.held[name].until = answer.asked + self._seconds
        for name, epoch in answer.taken.items():
            self.held[name] = HeldLease(epoch, answer.asked + self._seconds, self._seconds * GRACE)

    def release(self, session: Session, name: str, lease: HeldLease) -> None:
        """Let another have it at once."""
        leases.release(session, self._me, name, lease.epoch)

    def leave(self, session: Session) -> None:
        """The collector ends."""
        leases.leave(session, self._me)
