"""The jobs of a stream are spread over workers."""

from __future__ import annotations

from clearwell.registry.jobs import JobKind, JobSpec
from services.worker.placement import choose


def specs(stream: str) -> dict[str, JobSpec]:
    """The usual four jobs of a stream, by a short name."""
    jobs = {
        "cleaner": JobSpec(f"cleaner.{stream}", "", JobKind.CLEANER, stream, 1),
        "copier": JobSpec(f"copier.{stream}", "", JobKind.DEAD_LETTERS, stream, 1),
    }
    deliverers = {
        to: JobSpec(f"deliverer.{stream}.{to}", "", JobKind.DELIVERER, stream, 1, 0, to) for to in ("postgres", "mongo")
    }
    return jobs | deliverers


def test_cleaner_and_deliverer_of_a_stream_part() -> None:
    for _ in range(20):
        jobs = specs("s")
        del jobs["mongo"]
        first = choose(jobs.values(), [], 2)
        assert not {jobs["cleaner"].name, jobs["postgres"].name} <= set(first)


def test_streams_whose_jobs_are_elsewhere_come_first() -> None:
    here, elsewhere = specs("here"), specs("elsewhere")
    chosen = choose([here["postgres"], elsewhere["postgres"], elsewhere["mongo"]], [here["cleaner"]], 1)
    assert chosen and chosen[0].startswith("deliverer.elsewhere")
    assert choose([here["postgres"]], [here["cleaner"]], 5) == [here["postgres"].name], "rather than leave it"


def test_no_more_than_there_is_room_for() -> None:
    every = [spec for number in range(50) for spec in specs(f"s{number}").values()]
    first = choose(every, [], 100)
    assert len(first) == len(set(first)) == 100
    rest = choose([spec for spec in every if spec.name not in first], [], 100)
    assert len(rest) == 100 and choose(every, [], 0) == []
