"""What a collector's connectors do, in figures: counted once a batch, told to the registry every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from sqlalchemy.orm import Session

from clearwell.metrics import table
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.metrics.window import Window
from clearwell.registry import Connector, State, connectors, positions
from clearwell.registry.connectors import ConnectorFigures
from clearwell.registry.positions import Counts
from clearwell.source import Lag

EVERY = 5.0
"""Seconds between two reports."""


class ConnectorMeter:
    """Counts for one connector; from any thread."""

    def __init__(self, metrics: ProcessMetrics, connector: Connector) -> None:
        self._metrics = metrics
        self._names = connector.name, connector.stream

    def sent(self, counts: Counts) -> None:
        """Kafka has acknowledged these events."""
        self._metrics.add(table.CONNECTOR_EVENTS, self._names, counts.events)
        self._metrics.add(table.CONNECTOR_REFUSED, self._names, counts.refused)

    def failed(self) -> None:
        """A read ended by an error."""
        self._metrics.add(table.CONNECTOR_ERRORS, self._names)


class ConnectorMeters:
    """Of all connectors of a collector. `report` is called in other threads, one at a time."""

    def __init__(self, metrics: ProcessMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._next = clock() + EVERY
        self._windows: dict[str, Window] = {}
        self._reported: dict[str, ConnectorFigures] = {}
        self._states: dict[tuple[str, str], str] = {}

    def meter(self, connector: Connector) -> ConnectorMeter:
        """What counts for a connector that is started."""
        return ConnectorMeter(self._metrics, connector)

    def due(self) -> bool:
        """Whether it is time for a report: true once in `EVERY` seconds."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + EVERY
        return True

    def show_states(self, registered: Iterable[Connector]) -> None:
        """Every collector shows how each connector is: one that fails runs nowhere."""
        states = {(connector.name, connector.stream): _state(connector) for connector in registered}
        for names, state in self._states.items():
            if states.get(names) != state:
                self._metrics.remove(table.CONNECTOR_STATE, (*names, state))
        for names, state in states.items():
            self._metrics.set(table.CONNECTOR_STATE, 1, (*names, state))
        self._states = states

    def show_lags(self, lags: Mapping[str, Lag]) -> None:
        """Of the connectors that run here, and of no other."""
        for names in self._states:
            lag = lags.get(names[0], Lag())
            self._metrics.set(table.CONNECTOR_LAG_EVENTS, lag.events, names)
            self._metrics.set(table.CONNECTOR_LAG_SECONDS, lag.seconds, names)

    def report(self, session: Session, lags: Mapping[str, Lag]) -> None:
        """Tell the registry how fast the connectors are that run here, and their lags, as far as anything has changed.

        The rate is that of the saved counts: several collectors take the requests of one connector.
        """
        totals, now = positions.event_counts(session, lags.keys()), self._clock()
        self._windows = {name: self._windows.get(name) or Window(now, total) for name, total in totals.items()}
        figures = {}
        for name, total in totals.items():
            (rate,) = self._windows[name].rates(now, total)
            figures[name] = ConnectorFigures(round(rate, 3), lags[name].events, lags[name].seconds)
        connectors.report(session, {name: told for name, told in figures.items() if told != self._reported.get(name)})
        self._reported = figures


def _state(connector: Connector) -> str:
    retrying = connector.state is State.RUNNING and connector.next_try_at is not None
    return "retrying" if retrying else connector.state.value
