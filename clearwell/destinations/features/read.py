"""Reads a feature view: many entities in one round trip for the newest values, and one for the tiles of its windows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier

from clearwell.contract.features import FeatureView
from clearwell.destinations.features import ddl as features_ddl
from clearwell.destinations.features import retention_floor
from clearwell.destinations.features.tiles import EPOCH, Entity, Tile, microseconds, parts_of
from clearwell.destinations.features.values_at import bounds, reach, value_at
from clearwell.destinations.postgres import ddl
from clearwell.destinations.postgres import errors as postgres_errors
from clearwell.errors import ConfigError, Hint
from clearwell.postgres_connection import BoundedConnection
from clearwell.settings import Settings

Session = Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """What the view knows of an entity. `values` holds every feature by name; all None where nothing holds.

    `event_time` is that of the entity's newest event; None: the view knows no event of it that has a time. `expired`
    says that `ttl` has passed since. `pruned` are the features whose windows begin before what is kept of tiles
    (`retention_floor`): they are not known, and None. `digest` is `FeatureView.digest()` of the definition that the
    values were read by.
    """

    entity: Entity
    values: dict[str, Any]
    event_time: datetime | None
    expired: bool
    digest: str
    pruned: tuple[str, ...] = ()


def read_online(
    settings: Settings, view: FeatureView, keys: Sequence[Entity], at: datetime | None = None
) -> list[OnlineRow]:
    """`read_rows` over a connection for this call; those who read often keep one, and call that.

    Raises ConfigError when the view was never delivered to, or is not as the contract says; Retryable when the server
    is not there.
    """
    with connect(settings.postgres, view) as session:
        return read_rows(session, view, keys, at)


@contextlib.contextmanager
def connect(dsn: str, view: FeatureView) -> Iterator[Session]:
    """A connection that ends with the context; what PostgreSQL raises meanwhile becomes ours."""
    server = postgres_errors.where(dsn)
    try:
        session = BoundedConnection.open(dsn)
    except psycopg.Error as error:
        raise postgres_errors.on_connect(error, server, dsn) from None
    with session, translate_errors(server, view):
        yield session


@contextlib.contextmanager
def translate_errors(server: str, view: FeatureView) -> Iterator[None]:
    """What PostgreSQL raises in the context becomes a sentence; `server` is what messages call it."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise ConfigError(
            f'There is no view "{view.name}" in {server}: nothing was delivered to it yet.',
            code="not_delivered",
            hint=Hint("features.deliver"),
        ) from None
    except psycopg.Error as error:
        raise postgres_errors.on_statement(error, server, f'read the view "{view.name}"') from None
    except (TypeError, ValueError, OverflowError):
        message = f'A key is not of the type of the entity "{view.entity.name}" of the view "{view.name}".'
        raise ConfigError(message) from None


def read_rows(
    session: Session, view: FeatureView, keys: Sequence[Entity], at: datetime | None = None
) -> list[OnlineRow]:
    """One row for each of `keys` (tuples in the order of the entity's keys), in that order; also of unknown ones.

    `at` is the instant (with a time zone) that values are of; None: now. Of an instant before the entity's newest event
    the plain features are None, since the store keeps the newest only; so are windows that begin before the floor.
    Raises what psycopg raises (see `translate_errors`).
    """
    if not keys:
        return []
    time = at or datetime.now(UTC)
    columns = _columns(view, keys)
    with session.pipeline() if view.tile is not None else contextlib.nullcontext():
        rows = session.execute(_select_rows(view), columns, binary=True)
        tiles = floor = None
        if view.tile is not None:
            first, end = (EPOCH + timedelta(microseconds=moment) for moment in reach(view, microseconds(time)))
            tiles = session.execute(_select_tiles(view), {**columns, "first": first, "end": end}, binary=True)
            # After the tiles: what was removed before they were read is beneath it.
            floor = session.execute(retention_floor.READ, (view.name,), binary=True)
    known = {number: rest for number, *rest in rows.fetchall()}
    folded = _tiles(view, tiles.fetchall()) if tiles is not None else {}
    lowest = floor.fetchone() if floor is not None else None
    reading = _Reading(view, time, at is not None, lowest[0] if lowest else None)
    return [reading.online(tuple(key), known.get(number), folded.get(number, {})) for number, key in enumerate(keys, 1)]


class _Reading:
    """One read of many entities; what is the same for all of them is made once."""

    def __init__(self, view: FeatureView, time: datetime, asked: bool, floor: datetime | None) -> None:
        """`asked`: the instant was given, so it may be before an entity's newest event."""
        self._view, self._time, self._asked = view, time, asked
        self._nothing: dict[str, Any] = dict.fromkeys(feature.name for feature in view.features)
        self._plain = [plain_feature.name for plain_feature in view.plain]
        self._windowed = view.tile is not None
        self._digest = view.digest()
        self._pruned = _pruned(view, time, floor) if floor is not None else ()

    def online(self, key: Entity, row: Sequence[Any] | None, tiles: dict[int, Tile]) -> OnlineRow:
        """What the view knows of one entity; `row` holds its plain features, then the time of its newest event."""
        values = self._nothing.copy()
        if row is None:
            return OnlineRow(key, values, None, False, self._digest)
        event_time, ttl = row[-1], self._view.ttl
        if ttl is not None and (event_time is None or self._time - event_time > ttl):
            return OnlineRow(key, values, event_time, True, self._digest)
        if not (self._asked and event_time is not None and event_time > self._time):
            values.update(zip(self._plain, row, strict=False))  # the time of the event is left over
        if self._windowed:
            values |= value_at(self._view, tiles, self._time)
            values.update(dict.fromkeys(self._pruned))
        return OnlineRow(key, values, event_time, False, self._digest, self._pruned)


def _pruned(view: FeatureView, time: datetime, floor: datetime) -> tuple[str, ...]:
    at, lowest = microseconds(time), microseconds(floor)
    windows = [(feature.name, feature.window) for feature in view.aggregated if feature.window is not None]
    return tuple(name for name, window in windows if bounds(window, at)[0] < lowest)


def _tiles(view: FeatureView, rows: Sequence[Sequence[Any]]) -> dict[int, dict[int, Tile]]:
    parts = parts_of(view)
    tiles: dict[int, dict[int, Tile]] = {}
    for number, start, *values in rows:
        tiles.setdefault(number, {})[microseconds(start)] = features_ddl.restored(parts, values)
    return tiles


def _columns(view: FeatureView, keys: Sequence[Entity]) -> dict[str, Any]:
    """The keys as one array a column: "k0", "k1"."""
    return {f"k{at}": [key[at] for key in keys] for at in range(len(view.entity.keys))}


@functools.lru_cache(1_024)  # composing takes longer than to read a few rows
def _select_rows(view: FeatureView) -> bytes:
    names = [*(feature.name for feature in view.plain), features_ddl.EVENT_TIME]
    query = SQL("SELECT {columns} FROM {wanted} JOIN {table} AS stored ON {same}").format(
        columns=_own(names), wanted=_wanted(view), table=Identifier(features_ddl.ROWS, view.name), same=_same(view)
    )
    return query.as_bytes()


@functools.lru_cache(1_024)
def _select_tiles(view: FeatureView) -> bytes:
    keys = len(view.entity.keys)
    names = [column.name for column in features_ddl.tile_columns(view)][keys:]
    query = SQL(
        "SELECT {columns} FROM {wanted} JOIN {table} AS stored ON {same} "
        "WHERE stored.{start} >= %(first)s AND stored.{start} < %(end)s"
    ).format(
        columns=_own(names),
        wanted=_wanted(view),
        table=Identifier(features_ddl.TILES, view.name),
        same=_same(view),
        start=Identifier(features_ddl.START),
    )
    return query.as_bytes()


def _own(names: Sequence[str]) -> Composed:
    return SQL(", ").join(
        [SQL("wanted.number").format(), *(SQL("stored.{}").format(Identifier(name)) for name in names)]
    )


def _wanted(view: FeatureView) -> Composed:
    """The asked keys with their numbers from 1, as a table."""
    arrays = [SQL("%({})s::{}[]").format(SQL(f"k{n}"), SQL(type_)) for n, type_ in enumerate(_key_types(view))]
    names = [SQL(f"k{n}").format() for n in range(len(arrays))]
    return SQL("unnest({}) WITH ORDINALITY AS wanted ({}, number)").format(
        SQL(", ").join(arrays), SQL(", ").join(names)
    )


def _same(view: FeatureView) -> Composed:
    return SQL(" AND ").join(
        SQL("stored.{} = wanted.{}").format(Identifier(key.name), SQL(f"k{n}"))
        for n, key in enumerate(view.entity.keys)
    )


def _key_types(view: FeatureView) -> list[str]:
    return [ddl.column_type(key).final for key in view.entity.keys]
