"""What a view's windows leave out: told wherever the view is shown or verified (invariant 11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clearwell.contract.features import FeatureView
from clearwell.destinations.features import retention_floor, seen_events
from clearwell.destinations.features.read import Session, connect
from clearwell.settings import Settings


@dataclass(frozen=True, slots=True)
class ExcludedEvents:
    """In events: `late` are in no window, served or computed; `beneath` came when the windows of their time were no
    longer served, and are in the history and what is trained on.
    """

    late: int
    beneath: int


def excluded_events(settings: Settings, view: FeatureView) -> ExcludedEvents:
    """As of now. Raises ConfigError when the view was never delivered to, Retryable when the server is not well."""
    with connect(settings.postgres, view) as session:
        return read(session, view)


def read(session: Session | Any, view: FeatureView) -> ExcludedEvents:
    """As the session sees it. Raises what psycopg raises."""
    return ExcludedEvents(seen_events.late(session, view.name), retention_floor.beneath(session, view.name))
