"""Contracts of tests in the registry, as publishing puts them there, without its checks."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sqlalchemy import delete

from clearwell.contract.load import parse, version_of
from clearwell.errors import ConfigError, ContractError
from clearwell.registry import Registry, contracts, jobs, leases, migrate
from clearwell.registry.leases import LeaseKind
from clearwell.registry.models import JobRow


def publish_contract(postgres: str, path: Path) -> str:
    """Have a contract's text be the newest revision of its version, with its jobs; makes the registry where it must.

    Also a broken text, as a newer release may publish it, without jobs. Returns the text.
    """
    text = path.read_text()
    registry = Registry(postgres)
    try:
        try:
            _publish(registry, path, text)
        except ConfigError:  # a server of a test's own, without the tables
            migrate(postgres)
            _publish(registry, path, text)
    finally:
        registry.close()
    return text


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


def _publish(registry: Registry, path: Path, text: str) -> None:
    stream, version = path.parent.name, version_of(path)
    with registry.session() as session:
        newest = contracts.newest(session, stream, version)
        revision = 0 if newest is None else newest.revision + (newest.text != text)
        contracts.publish(session, stream, version, revision, text)
        with suppress(ContractError):
            jobs.derive(session, parse(text, str(path)), revision)
