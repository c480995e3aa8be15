"""What a view's windows have without: told wherever the view is shown or judged (invariant 11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clearwell.contract.feature_language import spelled
from clearwell.contract.features import FeatureView
from clearwell.destinations.features import counted as features_counted
from clearwell.destinations.features import floor as features_floor
from clearwell.destinations.features.read import Session, talking
from clearwell.settings import Settings


@dataclass(frozen=True, slots=True)
class LeftOut:
    """In events: `late` are in no window, served or computed; `beneath` came when the windows of their time were no
    longer served, and are in the history and what is trained on.
    """

    late: int
    beneath: int

    def lines(self, view: FeatureView) -> list[str]:
        """What a person is told; nothing where nothing is left out."""
        told = []
        if self.late:
            told.append(
                f"{_events(self.late)} came more than {spelled(view.lateness)} after a newer one of the same entity: "
                "in no window; a view of another name with a longer `lateness` has all."
            )
        if self.beneath:
            told.append(
                f"{_events(self.beneath)} of before the windows that are still served came when their tiles were gone: "
                "history has all, online windows of then are null."
            )
        return told


def _events(number: int) -> str:
    return f"{number:,} event{'' if number == 1 else 's'}"


def left_out(settings: Settings, view: FeatureView) -> LeftOut:
    """As of now. Raises ConfigError when the view was never delivered to, Retryable when the server is not well."""
    with talking(settings.postgres, view) as session:
        return read(session, view)


def read(session: Session | Any, view: FeatureView) -> LeftOut:
    """As the session sees it. Raises what psycopg raises."""
    return LeftOut(features_counted.late(session, view.name), features_floor.beneath(session, view.name))
