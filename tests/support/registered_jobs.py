"""A stream's jobs in the registry as publishing makes them, and workers that hold them, without any process."""

from __future__ import annotations

from clearwell.control.platform import Platform
from clearwell.registry import contracts, jobs, leases
from clearwell.registry.jobs import JobReport
from clearwell.registry.leases import LeaseKind, Load
from tests.support.platform import Platform as StreamPlatform


def publish(control: Platform, platform: StreamPlatform) -> list[str]:
    """Have the registry know the stream's contract and its jobs; returns their names."""
    contract = platform.contract
    with control.looking() as session:
        contracts.publish(session, platform.stream, contract.version, 0, platform.contract_file.read_text())
        jobs.derive(session, contract)
    return [spec.name for spec in jobs.specs_of(contract)]


def withdraw(control: Platform, stream: str) -> None:
    """The registry forgets the stream's jobs, so that no worker of another test takes them."""
    with control.looking() as session:
        contracts.retire(session, stream)
        names = jobs.end(session, stream) + [job.spec.name for job in jobs.list_jobs(session, stream)]
        leases.forget(session, names, LeaseKind.JOB)
        jobs.forget(session, names)


def hold(control: Platform, worker: str, names: list[str], seconds: float = 60, scope: str = "test") -> dict[str, int]:
    """A worker gives a sign of life and takes jobs; returns their epochs."""
    with control.looking() as session:
        leases.beat(session, worker, worker, scope, LeaseKind.JOB, Load(0.25, 120.0, "http://127.0.0.1:9"))
        return leases.take(session, worker, names, len(names), seconds, LeaseKind.JOB)


def report(control: Platform, *reports: JobReport) -> None:
    """What a worker says of its jobs."""
    with control.looking() as session:
        jobs.report(session, reports)


def leave(control: Platform, worker: str) -> None:
    """A worker ends."""
    with control.looking() as session:
        leases.leave(session, worker)
