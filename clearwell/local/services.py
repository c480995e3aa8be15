"""Our services as processes.

A contract has a cleaner, a copier of dead letters, a deliverer a route, an archiver an archive; there is one collector.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from clearwell import settings
from clearwell.contract.load import newest_contracts
from clearwell.contract.model import Contract
from clearwell.kafka.names import archive_group, cleaner_group, dead_letters_group, deliverer_group
from clearwell.local.ports import LOOPBACK
from clearwell.local.process import Process
from clearwell.local.state import LOGS, StackPlan
from clearwell.worker.batch_watch import VARIABLE as BATCH_NOTE

COLLECTOR = "collector"
LISTEN = "CLEARWELL_LISTEN"


def environment(home: Path, plan: StackPlan) -> Mapping[str, str]:
    """What each service gets on top of the supervisor's own environment."""
    return {
        "CLEARWELL_HOME": str(home),
        "CLEARWELL_SCHEMAS": plan.schemas,
        "CLEARWELL_KEYS": plan.keys,
        "CLEARWELL_WORKER": "local",
        "APP_DATADIR": str(home / "faust"),  # Faust makes it, and we keep nothing in it
        **listen(plan),
    }


def listen(plan: StackPlan) -> Mapping[str, str]:
    """Where the collector takes events over HTTP: as the environment says, else at the stack's own port."""
    if os.environ.get(LISTEN) or plan.ports.push is None:
        return {}
    return {LISTEN: f"{LOOPBACK}:{plan.ports.push}"}


def service_names(contracts: Iterable[Contract]) -> set[str]:
    """The names of the processes that `plan_services` makes of these contracts."""
    names = {COLLECTOR}
    for contract in contracts:
        names |= {cleaner_group(contract.stream, contract.version), dead_letters_group(contract.stream)}
        names |= {deliverer_group(contract.stream, contract.version, route.to) for route in contract.routes}
        names |= {archive_group(contract.stream, route.to) for route in contract.archives}
    return names


def plan_services(home: Path, plan: StackPlan) -> tuple[Process, ...]:
    """All services of the contracts in the plan's folder. Raises ContractError when one is wrong."""
    env = environment(home, plan)
    resolved = settings.load(os.environ | dict(env))
    made = []
    for contract in newest_contracts(Path(plan.schemas)):
        stream, version = contract.stream, contract.version
        base = ["--stream", stream, "--version", str(version)]
        made.append(_process("cleaner", base, cleaner_group(stream, version), env, resolved.kafka))
        made.append(_process("dead_letters", ["--stream", stream], dead_letters_group(stream), env, resolved.kafka))
        for to in dict.fromkeys(route.to for route in contract.routes):
            group = deliverer_group(stream, version, to)
            made.append(_process("deliverer", [*base, "--destination", to], group, env, resolved.kafka))
        for route in contract.archives:
            group = archive_group(stream, route.to)
            made.append(_process("archiver", ["--stream", stream, "--to", route.to], group, env, resolved.kafka))
    return (*made, _collector(env, resolved.postgres))


def _process(service: str, args: list[str], group: str, env: Mapping[str, str], bootstrap: str) -> Process:
    argv = (sys.executable, "-m", f"services.{service}", *args)
    note = str(Path(env["CLEARWELL_HOME"]) / LOGS / f"{group}.batch")
    alive = ServiceMember(bootstrap, group, f"{group}.{env['CLEARWELL_WORKER']}")
    return Process(group, argv, ready=GroupJoined(bootstrap, group), alive=alive, env={**env, BATCH_NOTE: note})


def _collector(env: Mapping[str, str], postgres: str) -> Process:
    name = f"{COLLECTOR}.{secrets.token_hex(4)}"  # on one server there may be the collectors of several stacks
    argv = (sys.executable, "-m", "services.collector")
    address = env.get(LISTEN) or os.environ.get(LISTEN)
    endpoint = f"http://{address}/push/<connector>" if address else ""
    return Process(COLLECTOR, argv, ready=Connected(postgres, name), env={**env, "PGAPPNAME": name}, endpoint=endpoint)


class GroupJoined:
    """Ready means: somebody new is in its consumer group, and the rebalance is over.

    A static member stays in its group while its process is away, and comes back with a new member id.
    """

    def __init__(self, bootstrap: str, group: str) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._before: set[str] | None = None

    def __call__(self) -> None:
        """Returns when that is so; raises otherwise. The first call sees who was there before the process started."""
        from kafka.admin import KafkaAdminClient

        from clearwell.kafka.clients import connect

        admin = connect(KafkaAdminClient, self._bootstrap, request_timeout_ms=3000)
        try:
            description = admin.describe_groups([self._group])[self._group]
        finally:
            admin.close()
        members = {member["member_id"] for member in description["members"]}
        if self._before is None:
            self._before = members
        if description["group_state"] != "Stable" or not members - self._before:
            raise ConnectionError(f"group is {description['group_state']}")
        self._before = members


class ServiceMember:
    """Whether a worker is in its consumer group, by its name there (static membership)."""

    def __init__(self, bootstrap: str, group: str, instance: str) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._instance = instance

    def __call__(self) -> bool:
        """Raises when Kafka can't be asked."""
        from clearwell.kafka import admin

        asked = admin.ask(self._bootstrap, "looking at a group", lambda client: client.describe_groups([self._group]))
        return any(member["group_instance_id"] == self._instance for member in asked[self._group]["members"])


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
