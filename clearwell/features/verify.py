"""Online = offline, measured: what is served against what the history of the same entities says of that instant."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clearwell.contract.features import Feature, FeatureView
from clearwell.destinations.features import incarnations, retention_floor
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import OnlineRow, connect, read_rows
from clearwell.destinations.features.tiles import Entity
from clearwell.features import event_history, excluded_events
from clearwell.features.excluded_events import ExcludedEvents
from clearwell.features.timeline import Moment, Timeline, timelines
from clearwell.settings import Settings

_ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_PAST = 3
"""Instants before an entity's newest event, at which its windows are compared."""


@dataclass(frozen=True, slots=True)
class ComparedValue:
    """One value: as it was served, and as history has it. Equal means the same to the last bit."""

    feature: Feature
    entity: Entity
    time: datetime
    served: Any
    computed: Any

    @property
    def same(self) -> bool:
        """Whether they are equal."""
        return type(self.served) is type(self.computed) and self.served == self.computed


@dataclass(slots=True)
class Verification:
    """What was compared, value by value; `digest` is that of the definition both sides were read by."""

    view: str
    digest: str
    entities: int
    events: int
    excluded_events: ExcludedEvents
    compared: list[ComparedValue] = field(default_factory=list)

    @property
    def mismatches(self) -> list[ComparedValue]:
        """What differs."""
        return [comparison for comparison in self.compared if not comparison.same]


def verify(settings: Settings, view: FeatureView, sample: int, seed: int) -> Verification:
    """Compare up to `sample` entities of the history, chosen by `seed`; online and history are of one snapshot.

    Each is read now, right after its newest event has come into its windows, and at a few instants before, at which
    its windows are compared alone: of the rest the store keeps the newest. Windows whose tiles are not kept any more
    are not compared. Raises as `read_timelines`.
    """
    return event_history.retry_where_joined(settings, view, lambda: _verify(settings, view, sample, seed))


def _verify(settings: Settings, view: FeatureView, sample: int, seed: int) -> Verification:
    now, root, rng = datetime.now(UTC), Folder.root(settings), random.Random(seed)  # noqa: S311 - a sample, no secret
    with connect(settings.postgres, view) as session, session.transaction():
        session.execute(_ONE_SNAPSHOT)
        files = event_history.list_files(session, view, now)
        known = event_history.entities(root, view, files)
        sample_entities = sorted(rng.sample(known, min(sample, len(known))))
        by_entity = timelines(
            view, event_history.read(root, view, files, now, sample_entities), incarnations.ranks(session, view.name)
        )
        floor = retention_floor.read(session, view.name)
        since = None if floor is None else retention_floor.whole_since(view, floor)
        seen = sum(len(entity_timeline.times) for entity_timeline in by_entity.values())
        outcome = Verification(view.name, view.digest(), len(by_entity), seen, excluded_events.read(session, view))
        for entity, timeline in by_entity.items():
            for time in _instants(timeline, now, since, rng):
                (served,) = read_rows(session, view, [entity], time)
                outcome.compared += _compare(view, served, timeline.at(time))
    return outcome


def _instants(timeline: Timeline, now: datetime, since: datetime | None, rng: random.Random) -> Sequence[datetime]:
    newest = timeline.times[-1]
    after = timeline.changes(newest, now)[:1]
    past = timeline.changes(max(timeline.times[0], since or timeline.times[0]), newest)
    return [now, *after, *sorted(rng.sample(past, min(_PAST, len(past))))]


def _compare(view: FeatureView, served: OnlineRow, moment: Moment) -> Iterator[ComparedValue]:
    past = served.event_time is not None and served.event_time > moment.time
    if past and moment.expired:  # the store knows of a newer event, and can't tell that none was there then
        return
    for feature in view.features:
        if feature.name not in served.pruned and (feature.aggregate is not None or not past):
            values = (served.values[feature.name], moment.values[feature.name])
            yield ComparedValue(feature, served.entity, moment.time, *values)
