"""The values of a view's entities over time, computed from its events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from clearwell.contract.features import FeatureView
from clearwell.destinations.features import incarnations
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import connect
from clearwell.destinations.features.tiles import Entity
from clearwell.features import event_history
from clearwell.features.timeline import Moment, Timeline, timelines
from clearwell.settings import Settings


def read_timelines(
    settings: Settings, view: FeatureView, until: datetime, keys: Sequence[Entity] | None = None
) -> dict[Entity, Timeline]:
    """The timelines of `keys` (None: of all entities), from all that is in the view's history up to `until`.

    Raises ConfigError when the view was never delivered to or a file of its history is missing; Retryable when the
    server or the folder is not well.
    """

    def work() -> dict[Entity, Timeline]:
        with connect(settings.postgres, view) as session:
            files, ranks = event_history.list_files(session, view, until), incarnations.ranks(session, view.name)
        return timelines(view, event_history.read(Folder.root(settings), view, files, until, keys), ranks)

    return event_history.retry_where_joined(settings, view, work)


def history(timeline: Timeline, start: datetime | None, end: datetime | None) -> Iterator[Moment]:
    """What the values were at `start` (None: at the first event), then each change of them up to `end` (None: now)."""
    if not timeline.times:
        return
    first, last = start or timeline.times[0], end or datetime.now(UTC)
    before: Moment | None = None
    for time in (first, *timeline.changes(first, last)):
        moment = timeline.at(time)
        if before is None or (moment.values, moment.expired) != (before.values, before.expired):
            yield moment
        before = moment
