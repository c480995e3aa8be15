"""What may be done to a registered connector: planned first, so that a dry run says what would follow, then applied.

A plan is a value; applying it carries it out in one transaction with its guards and its audit, and refuses when what
it rests on has changed since. Only a paused connector's position is moved, and only from the version that the plan saw;
a collector that still holds the old version is refused its next save (`positions.save`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
from sqlalchemy.orm import Session

from clearwell.control.platform import Actor, Platform
from clearwell.errors import ClearwellError, ConfigError, Hint
from clearwell.plugins.kinds import source_class
from clearwell.plugins.spec import open_source
from clearwell.registry import audit, connectors, positions
from clearwell.registry.connectors import Connector, State
from clearwell.registry.positions import SavedPosition
from clearwell.secret_references import hide
from clearwell.source import Comparing, Disposable, stored_position

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class StateChange:
    """A connector paused, resumed or restarted, as `action` says."""

    name: str
    action: str
    before: State
    state: State


@dataclass(frozen=True, slots=True)
class PositionChange:
    """A position before and after; `version` is the one that was seen. `meaning` says what is read again or skipped.

    `disposes`: what the source's server keeps for the connector is dropped too.
    """

    name: str
    action: str
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


Plan = StateChange | PositionChange | Removal


def plan_pause(platform: Platform, name: str) -> StateChange:
    """Stop reading; the position stays. Raises ConfigError when there is no such connector."""
    return StateChange(name, "pause", _state(platform, name), State.PAUSED)


def plan_resume(platform: Platform, name: str) -> StateChange:
    """Read on from the position. Raises ConfigError when there is no such connector."""
    return StateChange(name, "resume", _state(platform, name), State.RUNNING)


def plan_restart(platform: Platform, name: str) -> StateChange:
    """End the read that runs and begin anew at once, from the position. Raises ConfigError when it is paused."""
    before = _state(platform, name)
    if before is State.PAUSED:
        raise ConfigError(
            f'Connector "{name}" is paused, so there is nothing to restart.',
            code="connector_paused",
            hint=Hint("connectors.resume", name),
        )
    return StateChange(name, "restart", before, State.RUNNING)


def plan_position(
    platform: Platform, name: str, written: Mapping[str, Any] | None, *, seen: int | None = None
) -> PositionChange:
    """Move a paused connector to a position, None for the beginning. Blocks.

    Raises ConfigError when it is not paused, has no positions, `written` is none of its source's, or its position is
    no longer at version `seen`.
    """
    with platform.looking() as session:
        connector, saved = _movable(session, name, seen)
    return _move(connector, saved, written, "set position")


def plan_reset(platform: Platform, name: str) -> PositionChange:
    """Move a paused connector to the beginning, and drop what its source's server keeps for it. Blocks.

    Raises as `plan_position`.
    """
    with platform.looking() as session:
        connector, saved = _movable(session, name, None)
    return replace(_move(connector, saved, None, "reset"), disposes=is_disposable(connector))


def plan_removal(platform: Platform, name: str, *, keep_upstream: bool = False) -> Removal:
    """Forget a connector, and drop what its source's server keeps for it unless `keep_upstream`.

    Raises ConfigError when something is to be dropped while the connector runs.
    """
    with platform.looking() as session:
        return removal_of(session, name, keep_upstream=keep_upstream)


def apply(platform: Platform, actor: Actor, plan: Plan) -> None:
    """Carry a plan out. Blocks.

    Raises ConfigError (code "plan_is_old") when what it rests on has changed, and as the source's `dispose`; nothing
    has changed in the registry then.
    """
    with platform.changing(actor) as session:
        match plan:
            case StateChange():
                _set_state(session, plan)
            case PositionChange():
                _set_position(session, plan)
            case Removal():
                remove(session, plan)


def removal_of(session: Session, name: str, *, keep_upstream: bool = False) -> Removal:
    """As `plan_removal`."""
    connector, saved = connectors.get(session, name), positions.load(session, name)
    return Removal(name, saved.position, saved.events, not keep_upstream and _disposes(connector))


def remove(session: Session, plan: Removal) -> None:
    """Forget a connector; what its server keeps is dropped last, so that nothing has changed when that fails. Blocks.

    Raises ConfigError when it is gone, or runs while something is to be dropped, and as the source's `dispose`.
    """
    connector = connectors.get(session, plan.name, for_update=True)
    if plan.disposes:
        _require_not_running(connector)
    connectors.remove(session, plan.name)
    if plan.disposes:
        _or_keep_upstream(_dispose, connector)


def require_position(connector: Connector) -> None:
    """Raise ConfigError for a connector whose source is sent events: it has no position."""
    if not hasattr(source_class(connector.source), "Position"):
        raise ConfigError(
            f'Connector "{connector.name}" ({connector.source}) is sent its events: it has no position.',
            code="no_position",
        )


def is_disposable(connector: Connector) -> bool:
    """Whether the source's server may keep something for the connector, such as a replication slot."""
    return issubclass(source_class(connector.source), Disposable)


def _state(platform: Platform, name: str) -> State:
    with platform.looking() as session:
        return connectors.get(session, name).state


def _set_state(session: Session, plan: StateChange) -> None:
    """A collector may have noted an end or a failure meanwhile: only what a person said before is in the way."""
    now = connectors.get(session, plan.name, for_update=True).state
    if (now is State.PAUSED) != (plan.before is State.PAUSED):
        raise _old(plan.name, f"it was {plan.before}, and is {now}")
    if plan.action == "restart":
        connectors.restart(session, plan.name)
    else:
        connectors.set_state(session, plan.name, plan.state, plan.action)


def _set_position(session: Session, plan: PositionChange) -> None:
    """Only versions are audited: a position may hold keys of rows (invariant 9)."""
    connector, _ = _movable(session, plan.name, plan.version, for_update=True)
    if not plan.changes and not plan.disposes:
        return
    positions.move(session, plan.name, plan.version, plan.new)
    detail = {"version": plan.version + 1, "to": "the beginning" if plan.new is None else "a position"}
    audit.record(session, plan.action, connectors.target(plan.name), detail)
    if plan.disposes:
        _dispose(connector)


def _old(name: str, difference: str) -> ConfigError:
    return ConfigError(
        f'Connector "{name}" has changed since this was planned: {difference}. Look at it, and plan again.',
        code="plan_is_old",
        hint=Hint("connectors.show", name),
    )


def _disposes(connector: Connector) -> bool:
    """Whether there is something to drop. Raises ConfigError when it is in use, or nobody can tell."""
    if not _or_keep_upstream(is_disposable, connector):
        return False
    _require_not_running(connector)
    return True


def _require_not_running(connector: Connector) -> None:
    if connector.state is State.RUNNING:
        raise ConfigError(
            f'Connector "{connector.name}" is running, and its server keeps something for it: only of a paused one can '
            "this be dropped.",
            code="connector_running",
            hint=Hint("connectors.keep_upstream", connector.name),
        )


def _or_keep_upstream(act: Callable[[Connector], Result], connector: Connector) -> Result:
    """A connector whose source can't be asked any more can still be removed: the hint says how."""
    try:
        return act(connector)
    except ClearwellError as error:
        if error.hint is None:
            error.hint = Hint("connectors.remove_unasked", connector.name)
        raise


def _movable(
    session: Session, name: str, seen: int | None, *, for_update: bool = False
) -> tuple[Connector, SavedPosition]:
    connector = connectors.get(session, name, for_update=for_update)
    require_position(connector)
    if connector.state is not State.PAUSED:
        raise ConfigError(
            f'Connector "{name}" is {connector.state}: only a paused one is moved, so that nothing else moves its '
            "position.",
            code="connector_not_paused",
            hint=Hint("connectors.pause", name),
        )
    saved = positions.load(session, name)
    if seen not in (None, saved.version):
        raise ConfigError(
            f'The position of connector "{name}" is at version {saved.version}, not {seen}.',
            code="plan_is_old",
            hint=Hint("connectors.show_position", name),
        )
    return connector, saved


def _move(connector: Connector, saved: SavedPosition, written: Mapping[str, Any] | None, action: str) -> PositionChange:
    """Where the connector would go, and what that means where its source can tell."""
    shape = source_class(connector.source).Position
    new = stored_position(written, shape)
    kept = None if new is None else msgspec.to_builtins(new)
    plan = PositionChange(connector.name, action, saved.position, kept, saved.version)
    if not plan.changes:
        return plan
    if not issubclass(source_class(connector.source), Comparing):
        return replace(plan, meaning=_in_general(plan))
    source, values = open_source(connector.source, connector.config)
    assert isinstance(source, Comparing)
    try:
        return replace(plan, meaning=hide(source.between(stored_position(saved.position, shape), new), values))
    except ClearwellError as error:
        raise type(error)(hide(str(error), values)) from None


def _in_general(plan: PositionChange) -> str:
    """What a move means where the source can't compare two positions."""
    if plan.new is None:
        return "Everything read so far would be read again."
    if plan.old is None:
        return "Everything before the new position would be skipped."
    return "Its source can't say whether what lies between would be read again or skipped."


def _dispose(connector: Connector) -> None:
    """The last thing in a transaction: when it fails, nothing has changed in the registry."""
    source, values = open_source(connector.source, connector.config)
    assert isinstance(source, Disposable)
    try:
        source.dispose()
    except ClearwellError as error:
        raise type(error)(hide(str(error), values)) from None
