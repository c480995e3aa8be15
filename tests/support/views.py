"""A feature view of a test's own platform: its events, what it must serve, and what it does serve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from clearwell.contract.feature_views import views_of
from clearwell.contract.features import FeatureView
from clearwell.destinations.features.history_files import columns_of
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import connect, read_online
from clearwell.destinations.features.tiles import TileBuilder
from clearwell.destinations.features.values_at import value_at
from clearwell.features import event_history
from clearwell.features.declared_views import DeclaredView
from clearwell.features.registry_plan import RegistryPlan
from clearwell.pipeline.batch import RawBatch
from clearwell.pipeline.clean import CleanCodec
from clearwell.pipeline.compiler import compile
from clearwell.settings import Settings
from clearwell.steps import bind
from tests.support.platform import Platform, numbered

CARRIERS = (b"AA", b"B6", b"DL", b"UA")
BEGIN = datetime(2013, 1, 1, tzinfo=UTC)
FAR = datetime(2015, 1, 1, tzinfo=UTC)


def flights(count: int, start: int = 0) -> Iterator[bytes]:
    """Good flights of four carriers, 20 an hour, whose hours go back and forth; no two are at the same time."""
    for number, value in enumerate(numbered(count, start), start):
        hour = BEGIN + timedelta(hours=number // 20 + number * 7_919 % 13)
        at = hour.strftime(f"%Y-%m-%dT%H:00:00.{number:06d}Z").encode()
        carrier = CARRIERS[number * 31 % 4]
        yield value.replace(b'"UA"', b'"%s"' % carrier).replace(b"2013-01-01T10:00:00Z", at)


def view_of(platform: Platform) -> FeatureView:
    """The one view of the platform's contract."""
    (view,) = views_of(platform.contract, bind(platform.contract).schema)
    return view


def served(platform: Platform, time: datetime) -> dict[Any, dict[str, Any]]:
    """The windowed features of each carrier, read online."""
    view = view_of(platform)
    names = {one.name for one in view.aggregated}
    found = read_online(platform.settings, view, [(one.decode(),) for one in CARRIERS], time)
    return {row.entity: {name: row.values[name] for name in names} for row in found}


def expected(platform: Platform, values: Sequence[bytes], times: Sequence[datetime]) -> list[dict[Any, dict[str, Any]]]:
    """The same at each of `times`, from the raw events through the pipeline in memory; none of them is late."""
    view, pipeline = view_of(platform), compile(platform.contract, platform.keyring)
    outcomes = pipeline.process(RawBatch("x" * 22, 0, range(len(values)), list(values)), pipeline.new_state())
    builder = TileBuilder(view, [field.name for field in pipeline.schema.fields])
    for offset, row in enumerate(CleanCodec(pipeline.schema).decode(outcomes.values)):
        builder.add(row, "raw", 0, offset)
    return [{(one.decode(),): value_at(view, builder.tiles[one.decode(),], time) for one in CARRIERS} for time in times]


def listed(platform: Platform) -> list[str]:
    """The files of the view's history."""
    view = view_of(platform)
    with connect(platform.settings.postgres, view) as session:
        return event_history.list_files(session, view, FAR)


def ids(platform: Platform) -> list[str]:
    """The ids of all events in the view's history, sorted; one twice is there twice."""
    view = view_of(platform)
    at = [field.name for field in columns_of(view)].index("id")
    found = event_history.read(Folder.root(platform.settings), view, listed(platform), FAR)
    return sorted(one.row[at] for one in found)


def tell_feast(settings: Settings, declared: Sequence[DeclaredView], project: str) -> RegistryPlan:
    """Plan what Feast is to be told, and tell it."""
    from clearwell.features.feast_registry import apply_registry, plan_registry

    plan = plan_registry(settings, declared, project)
    apply_registry(settings, declared, plan)
    return plan
