"""Writing a feature view beside server-side COPY of the rows it holds, in the same run; no Kafka in between."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from clearwell.bench.figures import Say, administrator_url
from clearwell.contract.feature_views import view_of
from clearwell.contract.features import FeatureView
from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.features.ddl import ROWS, TILES, rows_schema
from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_files import events_folder
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import read_rows
from clearwell.destinations.postgres import ddl
from clearwell.destinations.protocol import CleanBatch
from clearwell.destinations.shape import IDENTITY
from clearwell.errors import ConfigError
from clearwell.settings import Settings

FLUSH = 5_000
KEYS = 20_000
READ = 100
COLUMNS = 18

_START = datetime(2013, 1, 1, tzinfo=UTC)
_NUMBERS = tuple(f"n{at}" for at in range(COLUMNS))
_SCHEMA = CleanSchema(
    "bench",
    1,
    (
        Field("id", Type.INT64, required=True),
        Field("at", Type.TIMESTAMP, required=True),
        *(Field(name, Type.FLOAT64) for name in _NUMBERS),
    ),
    ("id",),
    "id",
    "at",
)
_PLAIN: dict[str, Any] = {f"{name}_now": name for name in _NUMBERS}
_WINDOWED: dict[str, Any] = {
    "events_24h": {"count": "id", "window": "24h", "slide": "1h"},
    "sum_24h": {"sum": "n0", "window": "24h", "slide": "1h"},
    "mean_24h": {"mean": "n1", "window": "24h", "slide": "1h"},
    "max_24h": {"max": "n2", "window": "24h", "slide": "1h"},
    "last_24h": {"last": "n3", "window": "24h", "slide": "1h"},
}


@dataclass(frozen=True, slots=True)
class FeatureFigures:
    """Rows a second into a view, and the milliseconds of a read of `READ` entities; rows of 20 columns, 5,000 a flush.

    The limit is server-side COPY of the same number of distinct entities into the keyed table.
    """

    rows: int
    plain_per_second: int
    limit_per_second: int
    plain_ratio: float
    windowed_per_second: int
    read_plain_ms: float
    read_windowed_ms: float


def bench_features(settings: Settings, rows: int, say: Say) -> FeatureFigures:
    """Write `rows` events of KEYS entities into a plain and a windowed view, and read from both. Leaves nothing."""
    name = f"bench_{time.time_ns()}"
    plain = view_of(_SCHEMA, f"{name}_p", {"entity": "id", "features": _PLAIN})
    windowed = view_of(_SCHEMA, f"{name}_w", {"entity": "id", "features": _WINDOWED})
    batches = list(_batches(rows))
    try:
        say(f"{rows:,} rows into a view of {COLUMNS} plain features")
        plain_rate, plain_read = _view(settings, plain, batches)
        say(f"limit: server-side COPY of {rows:,} rows into the keyed table")
        limit = _server_side_copy(administrator_url(settings), plain, rows)
        say(f"{rows:,} rows into a view of {len(_WINDOWED)} windowed features")
        windowed_rate, windowed_read = _view(settings, windowed, batches)
    finally:
        _drop(settings, [plain, windowed])
    ratio = round(plain_rate / limit, 3)
    rates = (round(plain_rate), round(limit), ratio, round(windowed_rate))
    return FeatureFigures(rows, *rates, round(plain_read, 2), round(windowed_read, 2))


def _batches(rows: int) -> Iterator[list[tuple[Any, ...]]]:
    rng = random.Random(1)  # noqa: S311  rows to write, no secret
    for begin in range(0, rows, FLUSH):
        yield [
            (n * 7_919 % KEYS, _START + timedelta(seconds=n), *(rng.random() for _ in range(COLUMNS)))
            for n in range(begin, min(begin + FLUSH, rows))
        ]


def _view(settings: Settings, view: FeatureView, batches: Sequence[list[tuple[Any, ...]]]) -> tuple[float, float]:
    """Rows a second, and the median milliseconds of a read."""
    store = FeaturesDestination(settings.postgres, _SCHEMA, view, f"bench {view.name}", Folder.root(settings))
    store.open()
    claim = store.claim("clean-bench", 0, 1)
    begin, at = time.perf_counter(), 0
    for rows in batches:
        end = at + len(rows)
        offsets, values = range(at, end), [b""] * len(rows)
        topics = ["raw-bench"] * len(rows)
        store.write(CleanBatch("clean-bench", 0, end, claim.epoch, rows, values, offsets, topics, offsets, {}))
        at = end
    seconds = time.perf_counter() - begin
    store.close()
    return at / seconds, _read(settings, view, batches[-1][-1][1])


def _read(settings: Settings, view: FeatureView, newest: datetime) -> float:
    rng, took = random.Random(2), list[float]()  # noqa: S311  keys to read, no secret
    with psycopg.connect(settings.postgres, autocommit=True) as session:
        for _ in range(50):
            keys = [(rng.randrange(KEYS),) for _ in range(READ)]
            begin = time.perf_counter()
            read_rows(session, view, keys, newest + timedelta(hours=1))
            took.append(time.perf_counter() - begin)
    return sorted(took)[len(took) // 2] * 1_000


def _server_side_copy(postgres: str, view: FeatureView, rows: int) -> float:
    """Rows a second of COPY from a file of the server's into an empty keyed table like the view's, `rows` of them."""
    name = view.name
    table, copy, keys = Identifier(ROWS, name), Identifier(ROWS, f"{name}_copy"), Identifier(ROWS, f"{name}_rows")
    try:
        with psycopg.connect(postgres, autocommit=True) as session:
            shown = session.execute("SHOW data_directory").fetchone()
            file = Literal(f"{shown[0] if shown else ''}/{name}.bin")
            columns = [field.name for field in rows_schema(view).fields if field.name != "id"]
            columns += [*IDENTITY, ddl.DELIVERED_AT]
            more = (
                "CREATE TABLE {} AS SELECT n * {}::bigint + id AS id, {} FROM generate_series(0, {}) AS n, {} LIMIT {}"
            )
            session.execute(
                SQL(more).format(keys, Literal(KEYS), _names(columns), Literal(rows // KEYS), table, Literal(rows))
            )
            session.execute(SQL("COPY {} TO {} (FORMAT binary)").format(keys, file))
            session.execute(SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(copy, table))
            begin = time.perf_counter()
            copied = session.execute(SQL("COPY {} FROM {} (FORMAT binary)").format(copy, file)).rowcount
            seconds = time.perf_counter() - begin
            session.execute(SQL("COPY (SELECT) TO {}").format(file))  # empties the file
            session.execute(SQL("DROP TABLE {}, {}").format(copy, keys))
            return copied / seconds
    except psycopg.errors.InsufficientPrivilege:
        raise ConfigError(
            "Server-side COPY needs the rights of pg_read_server_files and pg_write_server_files: "
            "run the bench on the embedded stack."
        ) from None


def _drop(settings: Settings, views: Sequence[FeatureView]) -> None:
    for view in views:
        folder = events_folder(Folder.root(settings), view.name)
        folder.remove(folder.names())
    with psycopg.connect(settings.postgres, autocommit=True) as session:
        for view in views:
            for schema in (ROWS, TILES):
                session.execute(_dropped(schema, view.name))
            for bookkeeping, column, value in (
                ("positions", "group_name", f"bench {view.name}"),
                ("counted", "view_name", view.name),
                ("offline", "view_name", view.name),
            ):
                table = Identifier("clearwell_delivery", bookkeeping)
                session.execute(SQL("DELETE FROM {} WHERE {} = %s").format(table, Identifier(column)), (value,))


def _names(names: Sequence[str]) -> Composed:
    return SQL(", ").join(Identifier(name) for name in names)


def _dropped(schema: str, name: str) -> Composed:
    return SQL("DROP TABLE IF EXISTS {}").format(Identifier(schema, name))
