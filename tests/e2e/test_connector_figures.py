"""How fast connectors are and how far behind: from a collector's meters to `connector show`, by a clock of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.registry import State, connectors, positions
from clearwell.registry.connectors import ConnectorFigures
from clearwell.registry.positions import Counts
from clearwell.settings import Settings
from clearwell.source import Lag
from services.collector.connector_meters import EVERY, ConnectorMeters
from tests.support.collecting import Sandbox

Unique = Callable[[str], str]


@pytest.fixture
def sandbox(stack: Settings, unique: Unique, tmp_path: Path) -> Iterator[Sandbox]:
    """A stream of its own on the test stack."""
    made = Sandbox(stack, unique("figures"), tmp_path)
    yield made
    made.close()


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def figures(sandbox: Sandbox, name: str) -> ConnectorFigures:
    return sandbox.state(name)[0].figures


def test_rate_and_lag_reach_the_registry_and_the_list(
    sandbox: Sandbox, unique: Unique, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    name, other = sandbox.add(unique("fast")), sandbox.add(unique("idle"))
    clock, metrics = Clock(), ProcessMetrics()
    meters = ConnectorMeters(metrics, clock)
    meters.show_states([sandbox.state(name)[0], sandbox.state(other)[0]])
    lags = {name: Lag(700, None), other: Lag()}
    for _ in range(3):
        assert not meters.due()
        clock.seconds += EVERY
        assert meters.due()
        meters.show_lags(lags)
        with sandbox.registry.session() as session:
            positions.count(session, name, Counts(500))
            meters.report(session, lags)
    assert figures(sandbox, name) == ConnectorFigures(100.0, 700, None)
    assert figures(sandbox, other) == ConnectorFigures(0.0, None, None)
    assert f'clearwell_connector_lag_events{{connector="{name}",stream="{sandbox.stream}"}} 700.0' in (
        generate_latest(metrics.registry).decode()
    )
    capsys.readouterr()
    assert run("connector", "show", name, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["rate"], shown["lag_events"], shown["lag_seconds"]) == (100.0, 700, None)
    with sandbox.registry.session() as session:
        connectors.set_state(session, name, State.PAUSED, "pause")
    assert run("connector", "show", name, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["rate"], shown["lag_events"]) == (0.0, None), "what it said before it was paused is not so any more"


def test_figures_wait_for_nobody(sandbox: Sandbox, unique: Unique) -> None:
    """A person's change has the row; another collector reports at the same time, in another order."""
    busy, free = sandbox.add(unique("busy")), sandbox.add(unique("free"))
    told = {free: ConnectorFigures(1.0), busy: ConnectorFigures(2.0)}
    locked, done = threading.Event(), threading.Event()

    def change() -> None:
        with sandbox.registry.session() as session:
            connectors.get(session, busy, for_update=True)
            locked.set()
            done.wait(20)

    person = threading.Thread(target=change)
    person.start()
    try:
        assert locked.wait(20)
        with sandbox.registry.session() as session:
            connectors.report(session, told)
    finally:
        done.set()
        person.join()
    assert (figures(sandbox, free).rate, figures(sandbox, busy).rate) == (1.0, 0.0)
    with sandbox.registry.session() as session:
        connectors.report(session, told)
    assert figures(sandbox, busy).rate == 2.0
