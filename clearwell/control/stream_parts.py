"""What belongs to a stream: its published contracts, its jobs, its connectors; and how all of that is doing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from clearwell.contract.model import Contract
from clearwell.control.connectors import ConnectorStatus, list_connectors
from clearwell.control.jobs import JobStatus, list_jobs
from clearwell.control.platform import Platform
from clearwell.control.stream_states import StreamState, of_connector, of_job, worst
from clearwell.errors import ConfigError, ContractError, Hint, nearest
from clearwell.plugins.kinds import is_pushed
from clearwell.registry import contracts, processes
from clearwell.registry.connectors import State as ConnectorState
from clearwell.registry.contracts import PublishedContract
from clearwell.registry.leases import PROCESS_KINDS, LeaseKind


@dataclass(slots=True)
class StreamParts:
    """A stream; `published` are its revisions that are not retired, by version and revision.

    `has_collectors`: there is a process that runs connectors. `ever_published`: versions, retired ones too.
    """

    name: str
    has_collectors: bool
    published: list[PublishedContract] = field(default_factory=list)
    jobs: list[JobStatus] = field(default_factory=list)
    connectors: list[ConnectorStatus] = field(default_factory=list)
    ever_published: set[int] = field(default_factory=set)

    @property
    def versions(self) -> list[int]:
        """The versions that are published, in order."""
        return sorted({contract.version for contract in self.published})

    @property
    def contract(self) -> Contract | None:
        """The newest; None where none is published, or this release can't read it."""
        try:
            return self.published[-1].contract() if self.published else None
        except ContractError:
            return None

    @property
    def owner(self) -> str:
        """Who answers for it; "?" where no contract says."""
        contract = self.contract
        return "?" if contract is None else contract.owner

    @property
    def state(self) -> StreamState:
        """The worst of its parts."""
        jobs = [of_job(job.state) for job in self.jobs]
        connectors = [self._connector_state(connector) for connector in self.connectors]
        return worst([state for state in jobs if state], [state for state in connectors if state])

    @property
    def last_error(self) -> str | None:
        """That of the part which makes the stream's state, where it has one, else any."""
        jobs = [(of_job(job.state), job.last_error) for job in self.jobs]
        connectors = [(self._connector_state(connector), connector.last_error) for connector in self.connectors]
        errors = [(state is not self.state, error) for state, error in (*jobs, *connectors) if error]
        return min(errors)[1] if errors else None

    def _connector_state(self, connector: ConnectorStatus) -> StreamState | None:
        """One that is sent its events takes them in every collector, and has no lease."""
        return of_connector(
            ConnectorState(connector.state),
            has_collector=connector.read_by is not None or (self.has_collectors and is_pushed(connector.source)),
            is_retrying=connector.next_try_at is not None,
        )


def all_streams(platform: Platform) -> list[StreamParts]:
    """Every stream that has a published contract, a job or a connector, by name. Raises as `Platform.looking`."""
    with platform.looking() as session:
        published: Sequence[PublishedContract] = contracts.revisions(session)
        alive = {process.kind for process in processes.list_processes(session) if not process.is_gone}
    parts: defaultdict[str, StreamParts] = defaultdict(
        lambda: StreamParts("", PROCESS_KINDS[LeaseKind.CONNECTOR] in alive)
    )
    ever: defaultdict[str, set[int]] = defaultdict(set)
    for contract in published:
        ever[contract.stream].add(contract.version)
        if contract.retired_at is None:
            parts[contract.stream].published.append(contract)
    for job in list_jobs(platform):
        parts[job.stream].jobs.append(job)
    for connector in list_connectors(platform):
        parts[connector.stream].connectors.append(connector)
    for name, stream in parts.items():
        stream.name, stream.ever_published = name, ever[name]
    return [parts[name] for name in sorted(parts)]


def find_stream(platform: Platform, name: str) -> StreamParts:
    """One stream. Raises ConfigError (code "no_such_stream") with the nearest name when nothing belongs to it."""
    streams = {stream.name: stream for stream in all_streams(platform)}
    if name not in streams:
        raise ConfigError(
            f'There is no stream "{name}".{nearest(name, streams)}', code="no_such_stream", hint=Hint("streams.list")
        )
    return streams[name]
