"""What a collector says of itself: by a clock of the test's own."""

from __future__ import annotations

from prometheus_client import generate_latest

from clearwell.metrics.process_metrics import ProcessMetrics
from services.process_health import ProcessHealth


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_it_is_well_until_leases_are_not_renewed() -> None:
    clock, metrics = Clock(), ProcessMetrics()
    health = ProcessHealth("collector", metrics, 10.0, clock)
    assert health.problems() == []
    for clock.seconds in (4.0, 12.0):
        health.missed(leases=2)
    assert health.problems() == ["The registry has not answered for 12 s: leases are not renewed."]
    clock.seconds = 13.0
    health.answered(draining=False, lost=1)
    assert health.problems() == []
    page = generate_latest(metrics.registry).decode()
    assert "clearwell_registry_away_seconds_total 12.0" in page
    assert "clearwell_lease_renewal_failures_total 5.0" in page


def test_one_that_is_draining_says_so() -> None:
    health = ProcessHealth("collector", ProcessMetrics(), 10.0)
    health.answered(draining=True, lost=0)
    assert len(health.problems()) == 1 and "draining" in health.problems()[0]


def test_its_load_is_that_of_this_process() -> None:
    health = ProcessHealth("collector", ProcessMetrics(), 10.0)
    health.endpoint = "http://127.0.0.1:1"
    load = health.load()
    assert load.rss_mb > 10 and load.busy >= 0 and load.endpoint == health.endpoint
