"""Contracts of tests in the registry, as publishing puts them there, without its checks."""

from __future__ import annotations

from sqlalchemy import delete

from clearwell.contract.load import parse
from clearwell.contract.model import Contract
from clearwell.errors import ConfigError
from clearwell.registry import Registry, contracts, jobs, leases, migrate
from clearwell.registry.leases import LeaseKind
from clearwell.registry.models import JobRow


def publish_contract(postgres: str, text: str) -> None:
    """Have a contract's text be the newest revision of its version, with its jobs; makes the registry where it must."""
    contract = parse(text, "a test")
    registry = Registry(postgres)
    try:
        try:
            _publish(registry, contract, text)
        except ConfigError:  # a server of a test's own, without the tables
            migrate(postgres)
            _publish(registry, contract, text)
    finally:
        registry.close()


def forget_contract(postgres: str, stream: str) -> None:
    """Have the registry know nothing of a stream's contracts and jobs any more."""
    registry = Registry(postgres)
    try:
        with registry.session() as session:
            contracts.forget(session, stream)
            leases.forget(session, [job.spec.name for job in jobs.list_jobs(session, stream)], LeaseKind.JOB)
            session.execute(delete(JobRow).where(JobRow.stream == stream))
    finally:
        registry.close()


def _publish(registry: Registry, contract: Contract, text: str) -> None:
    with registry.session() as session:
        newest = contracts.newest(session, contract.stream, contract.version)
        revision = 0 if newest is None else newest.revision + (newest.text != text)
        contracts.publish(session, contract.stream, contract.version, revision, text)
        jobs.derive(session, contract, revision)
