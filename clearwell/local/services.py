"""Our services as processes: a worker a core, which host the jobs of all streams, and a collector."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from clearwell import settings
from clearwell.local.ports import LOOPBACK
from clearwell.local.process import Process
from clearwell.local.state import LOGS, StackPlan
from clearwell.worker.batch_watch import VARIABLE as BATCH_NOTES

COLLECTOR = "collector"
WORKER = "worker"
LISTEN = "CLEARWELL_LISTEN"

SEEN_WITHIN = 20.0
"""Seconds: a worker gives a sign of life each second."""


def environment(home: Path, plan: StackPlan) -> Mapping[str, str]:
    """What each service gets on top of the supervisor's own environment."""
    return {
        "CLEARWELL_HOME": str(home),
        "CLEARWELL_SCHEMAS": plan.schemas,
        "CLEARWELL_KEYS": plan.keys,
        "APP_DATADIR": str(home / "faust"),  # Faust makes it, and we keep nothing in it
        **listen(plan),
    }


def listen(plan: StackPlan) -> Mapping[str, str]:
    """Where the collector takes events over HTTP: as the environment says, else at the stack's own port."""
    if os.environ.get(LISTEN) or plan.ports.push is None:
        return {}
    return {LISTEN: f"{LOOPBACK}:{plan.ports.push}"}


def service_names() -> list[str]:
    """The names of the processes that `plan_services` makes."""
    return [*(f"{WORKER}{number}" for number in range(1, (os.cpu_count() or 1) + 1)), COLLECTOR]


def plan_services(home: Path, plan: StackPlan) -> tuple[Process, ...]:
    """The workers and the collector of a data folder."""
    env = environment(home, plan)
    resolved = settings.load(os.environ | dict(env))
    *workers, _ = service_names()
    return (*(_worker(name, home, env, resolved.postgres) for name in workers), _collector(env, resolved.postgres))


def _worker(name: str, home: Path, env: Mapping[str, str], postgres: str) -> Process:
    notes = home / LOGS / f"{name}.batches"
    application = f"{name}.{secrets.token_hex(4)}"  # on one server there may be the workers of several stacks

    def make_notes() -> None:
        notes.mkdir(mode=0o700, exist_ok=True)

    return Process(
        name,
        (sys.executable, "-m", "services.worker"),
        ready=Connected(postgres, application),
        setup=make_notes,
        alive=ProcessAlive(postgres, application),
        env={**env, "CLEARWELL_WORKER": application, "PGAPPNAME": application, BATCH_NOTES: str(notes)},
    )


def _collector(env: Mapping[str, str], postgres: str) -> Process:
    name = f"{COLLECTOR}.{secrets.token_hex(4)}"  # on one server there may be the collectors of several stacks
    argv = (sys.executable, "-m", "services.collector")
    address = env.get(LISTEN) or os.environ.get(LISTEN)
    endpoint = f"http://{address}/push/<connector>" if address else ""
    return Process(COLLECTOR, argv, ready=Connected(postgres, name), env={**env, "PGAPPNAME": name}, endpoint=endpoint)


class ProcessAlive:
    """Whether a worker has given a sign of life to the registry lately: it runs, and its loop goes round."""

    def __init__(self, postgres: str, name: str) -> None:
        self._postgres = postgres
        self._name = name

    def __call__(self) -> bool:
        """Raises when the registry can't be asked."""
        from clearwell.registry import Registry, leases

        with closing(Registry(self._postgres)) as registry, registry.session() as session:
            return leases.is_alive(session, self._name, SEEN_WITHIN)


class Connected:
    """Ready means: a connection to the registry that bears this process's name."""

    def __init__(self, postgres: str, name: str) -> None:
        self._postgres = postgres
        self._name = name

    def __call__(self) -> None:
        """Returns when that is so; raises otherwise."""
        import psycopg

        with psycopg.connect(self._postgres, connect_timeout=3) as connection:
            query = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s"
            if connection.execute(query, [self._name]).fetchone() is None:
                raise ConnectionError("not connected to the registry yet")
