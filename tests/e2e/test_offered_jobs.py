"""A job that a worker gives away is run by the one that it is offered to, and by any other if that one is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest

from clearwell.registry import Registry, jobs, processes
from clearwell.registry.jobs import JobKind
from clearwell.registry.leases import NO_LOAD
from services.worker.registry_exchange import NONE_TAKEN, News, RegistryExchange, Release
from tests.support.platform import Platform, published_job

pytestmark = pytest.mark.slow


class Side:
    """A worker, as far as the registry knows it."""

    def __init__(self, registry: Registry, platform: Platform, name: str) -> None:
        self.me = f"{platform.stream}-{name}"
        self._registry = registry
        self._exchange = RegistryExchange(self.me, self.me, 60.0, platform.stream)

    @property
    def held(self) -> set[str]:
        return set(self._exchange.held)

    def ask(self, unstarted: int = 0, released: Mapping[str, Release] | None = None) -> None:
        with self._registry.session() as session:
            answer = self._exchange.ask(session, News(NO_LOAD, [], unstarted, {}, released or {}))
        for name in released or {}:
            self._exchange.forget(name)
        self._exchange.learn(answer)

    def offer(self, name: str, to: str) -> None:
        self.ask(released={name: Release(None, to)})

    def end(self) -> None:
        with self._registry.session() as session:
            self._exchange.leave(session)


@pytest.fixture
def sides(platform: Platform) -> Iterator[tuple[Side, Side]]:
    """Two workers with two jobs each."""
    for kind, to in (("cleaner", ""), ("dead_letters", ""), ("deliverer", "postgres"), ("deliverer", "mongo")):
        published_job(platform.settings, JobKind(kind), platform.stream, to=to)
    with closing(Registry(platform.settings.postgres)) as registry:
        first, second = Side(registry, platform, "1"), Side(registry, platform, "2")
        second.ask(NONE_TAKEN)
        first.ask()
        second.ask()
        assert (len(first.held), len(second.held)) == (2, 2)
        yield first, second
        first.end()
        second.end()


def test_what_is_offered_is_taken_beyond_the_share(sides: tuple[Side, Side], platform: Platform) -> None:
    first, second = sides
    name = min(first.held)
    first.offer(name, second.me)
    first.ask()
    assert name not in first.held, "it is offered to the other"
    second.ask()
    assert name in second.held and len(second.held) == 3
    with closing(Registry(platform.settings.postgres)) as registry, registry.session() as session:
        assert jobs.get(session, name).offered_to is None, "else nobody could take it over"


def test_what_is_offered_to_nobody_is_anybodys(sides: tuple[Side, Side]) -> None:
    first = sides[0]
    name = min(first.held)
    first.offer(name, "gone")
    first.ask()
    assert name in first.held


def test_who_is_drained_takes_no_offer(sides: tuple[Side, Side], platform: Platform) -> None:
    first, second = sides
    name = min(first.held)
    with closing(Registry(platform.settings.postgres)) as registry, registry.session() as session:
        processes.set_draining(session, [second.me], True, second.me)
    first.offer(name, second.me)
    second.ask()
    assert name not in second.held
    first.ask()
    assert name in first.held
