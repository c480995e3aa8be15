"""Positions moved by a person, and connectors removed: planned first, so that a dry run says what would follow.

Only a paused connector's position is moved, and only from the version that the person saw; a collector that still holds
the old version is refused its next save (`positions.save`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
from sqlalchemy.orm import Session

from clearwell.errors import ClearwellError, ConfigError
from clearwell.references import hide
from clearwell.registry import audit, connectors, positions
from clearwell.registry.connectors import Connector, State
from clearwell.registry.database import Registry
from clearwell.registry.kinds import source_class
from clearwell.registry.positions import SavedPosition
from clearwell.registry.spec import open_source
from clearwell.source import Comparing, Disposable, stored_position

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Move:
    """A position before and after; `version` is the new one. `meaning` says what is read again or skipped.

    `disposes`: what the source's server keeps for the connector is dropped too.
    """

    name: str
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    version: int
    meaning: str | None = None
    disposes: bool = False

    @property
    def changes(self) -> bool:
        """Whether the two positions differ."""
        return self.old != self.new


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes with a connector: its position after `events` acknowledged events, and what its server keeps for it."""

    name: str
    position: Mapping[str, Any] | None
    events: int
    disposes: bool


def set_position(
    registry: Registry, name: str, written: Mapping[str, Any] | None, *, seen: int | None = None, dry_run: bool = False
) -> Move:
    """Move a paused connector to a position, None for the beginning. Blocks.

    Raises ConfigError when it is not paused, has no positions, `written` is none of its source's, or its position is
    no longer at version `seen`.
    """
    with registry.session() as session:
        found, saved = _movable(session, name, seen)
        move = _planned(found, saved, written)
        if not dry_run and move.changes:
            _store(session, move, saved.version, "set position")
    return move


def reset(registry: Registry, name: str, *, dry_run: bool = False) -> Move:
    """Move a paused connector to the beginning, and drop what its source's server keeps for it. Blocks.

    Raises as `set_position` and as the source's `dispose`; nothing has changed in the registry then.
    """
    with registry.session() as session:
        found, saved = _movable(session, name, None)
        move = replace(_planned(found, saved, None), disposes=is_disposable(found))
        if not dry_run and (move.changes or move.disposes):
            _store(session, move, saved.version, "reset")
            if move.disposes:
                _dispose(found)
    return move


def remove(registry: Registry, name: str, *, keep_upstream: bool = False, dry_run: bool = False) -> Removal:
    """Forget a connector, and drop what its source's server keeps for it unless `keep_upstream`. Blocks.

    Raises ConfigError when something is to be dropped while the connector runs, and as the source's `dispose`.
    """
    with registry.session() as session:
        found, saved = connectors.get(session, name), positions.load(session, name)
        removal = Removal(name, saved.position, saved.events, not keep_upstream and _disposes(found))
        if not dry_run:
            connectors.remove(session, name)
            if removal.disposes:
                _or_keep_upstream(_dispose, found)
    return removal


def require_position(found: Connector) -> None:
    """Raise ConfigError for a connector whose source is sent events: it has no position."""
    if not hasattr(source_class(found.source), "Position"):
        raise ConfigError(f'Connector "{found.name}" ({found.source}) is sent its events: it has no position.')


def is_disposable(found: Connector) -> bool:
    """Whether the source's server may keep something for the connector, such as a replication slot."""
    return issubclass(source_class(found.source), Disposable)


def _disposes(found: Connector) -> bool:
    """Whether there is something to drop. Raises ConfigError when it is in use, or nobody can tell."""
    if not _or_keep_upstream(is_disposable, found):
        return False
    if found.state is State.RUNNING:
        raise ConfigError(
            f'Connector "{found.name}" is running, and its server keeps something for it: pause it first, so that this '
            "can be dropped, or leave it there by --keep-upstream."
        )
    return True


def _or_keep_upstream(act: Callable[[Connector], T], found: Connector) -> T:
    """A connector whose source can't be asked any more can still be removed: the error says how."""
    try:
        return act(found)
    except ClearwellError as error:
        raise type(error)(f"{error} (--keep-upstream removes the connector without asking its source.)") from None


def _movable(session: Session, name: str, seen: int | None) -> tuple[Connector, SavedPosition]:
    found = connectors.get(session, name)
    require_position(found)
    if found.state is not State.PAUSED:
        raise ConfigError(
            f'Connector "{name}" is {found.state}: `clearwell connector pause {name}` first, so that nothing else '
            "moves its position."
        )
    saved = positions.load(session, name)
    if seen not in (None, saved.version):
        raise ConfigError(
            f'The position of connector "{name}" is at version {saved.version}, not {seen}: '
            f"`clearwell connector positions get {name}` shows it; then set it again."
        )
    return found, saved


def _planned(found: Connector, saved: SavedPosition, written: Mapping[str, Any] | None) -> Move:
    """Where the connector would go, and what that means where its source can tell."""
    shape = source_class(found.source).Position
    new = stored_position(written, shape)
    kept = None if new is None else msgspec.to_builtins(new)
    move = Move(found.name, saved.position, kept, saved.version + 1)
    if not move.changes:
        return move
    if not issubclass(source_class(found.source), Comparing):
        return replace(move, meaning=_in_general(move))
    source, values = open_source(found.source, found.config)
    assert isinstance(source, Comparing)
    try:
        return replace(move, meaning=hide(source.between(stored_position(saved.position, shape), new), values))
    except ClearwellError as error:
        raise type(error)(hide(str(error), values)) from None


def _in_general(move: Move) -> str:
    """What a move means where the source can't compare two positions."""
    if move.new is None:
        return "Everything read so far would be read again."
    if move.old is None:
        return "Everything before the new position would be skipped."
    return "Its source can't say whether what lies between would be read again or skipped."


def _store(session: Session, move: Move, version: int, action: str) -> None:
    """Only versions are audited: a position may hold keys of rows (invariant 9)."""
    positions.move(session, move.name, version, move.new)
    detail = {"version": move.version, "to": "the beginning" if move.new is None else "a position"}
    audit.record(session, action, connectors.target(move.name), detail)


def _dispose(found: Connector) -> None:
    """The last thing in a transaction: when it fails, nothing has changed in the registry."""
    source, values = open_source(found.source, found.config)
    assert isinstance(source, Disposable)
    try:
        source.dispose()
    except ClearwellError as error:
        raise type(error)(hide(str(error), values)) from None
