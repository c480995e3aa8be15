"""A small model that learns one event at a time, so that the demo shows what a subscription is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

FIELDS = ("dep_delay", "distance", "air_time", "sched_dep_time", "arr_delay")
"""What the model subscribes to: four features and the target."""


class DelayModel:
    """Predicts a flight's delay at arrival (minutes) from what is known when it has landed nearby.

    Linear regression learned online by normalised least mean squares (Widrow and Hoff; step size 0.05 over the squared
    length of the features). `mean_error` is prequential: each flight is predicted before it is learned from.
    """

    STEP = 0.05

    def __init__(self) -> None:
        self._weights = [0.0] * 5
        self._error = 0.0
        self.learned = 0

    def learn(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Predict, then learn from, each event that has all of FIELDS."""
        weights = self._weights
        for event in events:
            target = event["arr_delay"]
            if target is None or event["dep_delay"] is None or event["air_time"] is None:
                continue
            x = self.features(event)
            wrong = target - sum(w * v for w, v in zip(weights, x, strict=True))
            step = self.STEP * wrong / sum(v * v for v in x)
            for i, v in enumerate(x):
                weights[i] += step * v
            self._error += abs(wrong)
            self.learned += 1

    def error(self, events: Iterable[Mapping[str, Any]]) -> float:
        """Mean absolute error (minutes) of the weights as they are, without learning; nan without events."""
        errors = [
            abs(event["arr_delay"] - sum(w * v for w, v in zip(self._weights, self.features(event), strict=True)))
            for event in events
            if None not in (event["arr_delay"], event["dep_delay"], event["air_time"])
        ]
        return sum(errors) / len(errors) if errors else float("nan")

    @staticmethod
    def features(event: Mapping[str, Any]) -> tuple[float, ...]:
        """A constant and the four features, each scaled to about one."""
        return (
            1.0,
            event["dep_delay"] / 30.0,
            event["distance"] / 1000.0,
            event["air_time"] / 150.0,
            event["sched_dep_time"] / 1200.0,
        )

    @property
    def mean_error(self) -> float:
        """Mean absolute error (minutes) over all that was learned, each predicted first; nan before the first."""
        return self._error / self.learned if self.learned else float("nan")
