"""Which deliveries a person means, and what their versions stored before: contracts alone, no server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearwell.cli.main import main
from clearwell.contract.load import newest_contracts
from clearwell.control import deliveries, destination_replay, destinations
from clearwell.control.deliveries import find_deliveries, find_delivery
from clearwell.control.platform import Platform
from clearwell.destinations.memory import MemoryDestination, MemoryStore
from clearwell.errors import ConfigError, Hint
from clearwell.registry.deliveries import Delivery, RegisteredDelivery
from clearwell.registry.jobs import JobHealth, JobState
from clearwell.settings import Settings
from clearwell.testing.contracts import minimal_text as text
from clearwell.testing.destination_events import SIMPLE

NOBODY = Settings(
    "127.0.0.1:1", "postgresql://127.0.0.1:1/x", "mongodb://127.0.0.1:1/x", Path("h"), Path("s"), Path("k")
)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Visits and orders go to Postgres, visits to an archive too."""
    for stream, more in (("visits", "  - {to: archive}\n"), ("orders", "")):
        (tmp_path / stream).mkdir()
        (tmp_path / stream / "v1.yaml").write_text(text(f"routes:\n  - {{to: postgres}}\n{more}", stream=stream))
    monkeypatch.setattr(deliveries, "current_contracts", lambda _: newest_contracts(tmp_path))
    return Platform(replace(NOBODY, schemas=tmp_path))


def test_deliveries_are_those_of_all_streams_or_of_one(platform: Platform) -> None:
    assert [delivery.stream for _, delivery in find_deliveries(platform, "postgres", None)] == ["orders", "visits"]
    assert find_delivery(platform, "postgres", "visits")[1].group == "deliverer.visits.v1.postgres"


@pytest.mark.parametrize(
    ("find", "destination", "stream", "code", "hint", "sentence"),
    [
        (find_deliveries, "postgress", None, "no_route", None, 'Did you mean "postgres"?'),
        (find_deliveries, "postgres", "visit", "no_route", Hint("destinations.list"), 'Did you mean "visits"?'),
        (find_deliveries, "archive", None, "archive_route", Hint("lake.check", "visits"), "nothing to pause"),
        (find_delivery, "postgres", None, "several_streams", Hint("destinations.name_stream"), ": orders, visits."),
    ],
)  # fmt: skip
def test_a_destination_that_is_none_of_them_is_told(
    find: Callable[..., Any],
    destination: str,
    stream: str | None,
    code: str,
    hint: Hint | None,
    sentence: str,
    platform: Platform,
) -> None:
    with pytest.raises(ConfigError) as refused:
        find(platform, destination, stream)
    assert (refused.value.code, refused.value.hint) == (code, hint) and sentence in str(refused.value)


def test_deliveries_of_older_versions_and_of_routes_that_are_gone_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destinations, "behind", lambda *_: 3)
    health = JobHealth(JobState.RUNNING)
    gone = [Delivery("g1", "visits", 1, "postgres"), Delivery("g2", "visits", 2, "mongo")]
    registered = [RegisteredDelivery(delivery, False, health, None) for delivery in gone]  # type: ignore[arg-type]
    rows = destinations._former(NOBODY, registered, [Delivery("g3", "visits", 2, "postgres")])
    assert [(row["version"], row["destination"], row["state"], row["behind"]) for row in rows] == [
        (1, "postgres", "ended: v2 is newer", 3),
        (2, "mongo", "ended: no route", 3),
    ]


@pytest.mark.parametrize("since", ["yesterday", "0:1,0:x"])
def test_a_wrong_beginning_of_a_replay_is_told(since: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["destination", "replay", "postgres", "--from", since, "--dry-run"]) == 2
    assert "is not a time, nor `earliest`, nor offsets such as 0:1200,1:900" in capsys.readouterr().err


class Plain:
    """A destination of another package, without `rewind`."""

    def __init__(self) -> None:
        self._made = MemoryDestination(MemoryStore(), SIMPLE, "group")

    def __getattr__(self, name: str) -> Any:
        if name in ("rewind", "redelivers"):
            raise AttributeError(name)
        return getattr(self._made, name)


def test_what_can_not_be_set_back_is_refused_before_anybody_is_asked(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination_replay, "open_destination", lambda *_: Plain())
    contract, delivery = find_delivery(platform, "postgres", "visits")
    with pytest.raises(ConfigError, match=r"postgres can't be set back.*a destination of a new name") as refused:
        destination_replay._open(NOBODY, contract, delivery)
    assert refused.value.code == "not_replayable"
