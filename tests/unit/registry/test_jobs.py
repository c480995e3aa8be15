"""The jobs that a contract makes."""

from __future__ import annotations

from pathlib import Path

from clearwell.contract.load import parse
from clearwell.registry.jobs import JobKind, specs_of

FLIGHTS = Path(__file__).parents[3] / "schemas" / "flights" / "v1.yaml"


def test_an_archive_makes_an_archiver_and_no_deliverer() -> None:
    text = FLIGHTS.read_text()
    before = specs_of(parse(text, "before"))
    after = specs_of(parse(text.replace("routes:\n", "routes:\n  - {to: archive.cold}\n"), "after"))
    (new,) = set(after) - set(before)
    assert (new.group, new.kind, new.topic) == ("archive.cold.flights", JobKind.ARCHIVER, "raw.flights")


def test_each_job_reads_one_topic() -> None:
    topics = {spec.kind: spec.topic for spec in specs_of(parse(FLIGHTS.read_text(), "flights"))}
    assert topics == {
        JobKind.CLEANER: "raw.flights",
        JobKind.DEAD_LETTERS: "dead.flights",
        JobKind.DELIVERER: "clean.flights.v1",
    }
