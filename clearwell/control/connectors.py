"""Connectors as people and programs see them: how each is doing, what is known of it, who changed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from clearwell.control.connector_changes import require_position
from clearwell.control.connector_spec import ConnectorSpec
from clearwell.control.platform import Platform
from clearwell.registry import Connector, SavedPosition, State, audit, connectors, leases, positions
from clearwell.registry.connectors import ConnectorFigures
from clearwell.registry.leases import Holder


class ConnectorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a connector is doing.

    `read` to `at_source` are the account of its source, in items, `passed_over` files and folders; None where it does
    not count. `difference`: one sentence where the account does not add up (invariant 11). `read_by`: the collector
    that holds its lease. `rate`: events a second over the last minute; `lag_events` and `lag_seconds`: what is still to
    be read, None where the source can't tell.
    """

    name: str
    source: str
    stream: str
    state: str
    events: int
    read: int | None
    accepted: int
    refused: int
    at_source: int | None
    passed_over: int | None
    difference: str | None
    rate: float
    lag_events: int | None
    lag_seconds: float | None
    read_by: str | None
    last_error: str | None
    next_try_at: datetime | None


class ConnectorDetails(ConnectorStatus, frozen=True, kw_only=True):
    """All that is known of a connector; `config` holds references, never secrets (invariant 10)."""

    lease_until: datetime | None
    limits: Mapping[str, Any]
    config: Mapping[str, Any]
    position: Mapping[str, Any] | None
    position_version: int
    position_saved_at: datetime
    restarts: int
    created_at: datetime
    updated_at: datetime


class ConnectorPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Where reading goes on; None is the beginning. `version` grows with each save."""

    name: str
    position: Mapping[str, Any] | None
    version: int
    events: int
    saved_at: datetime


class ConnectorChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change that somebody made; `face` and `reason` as `Actor` has them."""

    at: datetime
    who: str
    face: str
    reason: str
    action: str
    connector: str
    detail: Mapping[str, Any]


def list_connectors(platform: Platform) -> list[ConnectorStatus]:
    """All connectors by name."""
    with platform.looking() as session:
        registered = connectors.list_connectors(session)
        saved = positions.load_all(session)
        holders = leases.holders(session)
    return [
        ConnectorStatus(**_status(connector, saved[connector.name], holders.get(connector.name)))
        for connector in registered
    ]


def show_connector(platform: Platform, name: str) -> ConnectorDetails:
    """One connector. Raises ConfigError, with the nearest name, when there is none."""
    with platform.looking() as session:
        connector = connectors.get(session, name)
        saved = positions.load(session, name)
        holder = leases.holders(session, [name]).get(name)
    return ConnectorDetails(
        **_status(connector, saved, holder),
        lease_until=None if holder is None else holder.until,
        limits=msgspec.to_builtins(connector.limits),
        config=dict(connector.config),
        position=saved.position,
        position_version=saved.version,
        position_saved_at=saved.updated_at,
        restarts=connector.restarts,
        created_at=connector.created_at,
        updated_at=connector.updated_at,
    )


def show_position(platform: Platform, name: str) -> ConnectorPosition:
    """Where a connector goes on. Raises ConfigError when there is no such connector, or its source is sent events."""
    with platform.looking() as session:
        require_position(connectors.get(session, name))
        saved = positions.load(session, name)
    return ConnectorPosition(
        name=name, position=saved.position, version=saved.version, events=saved.events, saved_at=saved.updated_at
    )


def list_changes(platform: Platform, name: str | None = None, limit: int = 50) -> Sequence[ConnectorChange]:
    """The newest changes of all connectors or of one, also after it was removed; newest first."""
    with platform.looking() as session:
        entries = audit.entries(session, connectors.target(name or ""), limit, prefix=name is None)
    return [
        ConnectorChange(
            at=entry.at,
            who=entry.who,
            face=entry.face,
            reason=entry.reason,
            action=entry.action,
            connector=entry.object.partition("/")[2],
            detail=dict(entry.detail),
        )
        for entry in entries
    ]


def registered_spec(platform: Platform, name: str) -> ConnectorSpec:
    """What a connector was registered with. Raises ConfigError, with the nearest name, when there is none."""
    with platform.looking() as session:
        connector = connectors.get(session, name)
    return ConnectorSpec(
        name=connector.name,
        source=connector.source,
        stream=connector.stream,
        config=dict(connector.config),
        limits=connector.limits,
    )


def _status(connector: Connector, saved: SavedPosition, holder: Holder | None) -> dict[str, Any]:
    figures = connector.figures if connector.state is State.RUNNING else ConnectorFigures()  # what it said last
    return {
        "name": connector.name,
        "source": connector.source,
        "stream": connector.stream,
        "state": connector.state.value,
        "events": saved.events,
        "read": saved.counts.read,
        "accepted": saved.counts.accepted,
        "refused": saved.counts.refused,
        "at_source": saved.counts.held,
        "passed_over": saved.counts.passed_over,
        "difference": saved.difference(),
        "rate": figures.rate,
        "lag_events": figures.lag_events,
        "lag_seconds": figures.lag_seconds,
        "read_by": None if holder is None else holder.process,
        "last_error": connector.last_error,
        "next_try_at": connector.next_try_at,
    }
