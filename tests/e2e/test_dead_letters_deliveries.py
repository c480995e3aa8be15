"""Events that one destination refused: replayed to it alone, and the accounts add up at every moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from clearwell.dead_letters.replay import Replayer, ReplayResult
from clearwell.errors import Retryable
from clearwell.kafka.names import replay_group
from clearwell.plugins.open_destination import open_destination
from clearwell.reconciliation.destination_ledger import DestinationBalance
from clearwell.registry import Registry, migrate
from clearwell.settings import Settings
from clearwell.steps import bind
from tests.support.dead_letters import Commands, arrived, letters, states
from tests.support.platform import Platform, until
from tests.support.publishing import publish_contract
from tests.support.refusing import CONTRACT, ids_in_mongo, ids_in_postgres

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(
    stack: Settings,
    platform_of: Callable[[str], Platform],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[Platform, Commands]:
    """Bookings, 40 in all, of which Postgres refuses those 6 whose amount is too large."""
    migrate(stack.postgres)
    platform = platform_of(CONTRACT)
    platform.start("deliverer", "--destination", "postgres")
    _when_there(platform, "ALTER TABLE {} ADD CONSTRAINT small CHECK (amount < 1000)")
    platform.start("deliverer", "--destination", "mongo")
    platform.start("dead_letters")
    platform.start("cleaner")
    for partition in range(2):
        platform.put([_event(number, 5_000 if number < 6 else 1) for number in range(partition, 40, 2)], partition)
    arrived(platform, 6)
    return platform, Commands(platform, monkeypatch, capsys)


def test_refused_events_go_to_their_destination_alone(shop: tuple[Platform, Commands]) -> None:
    platform, dead = shop
    assert _books(platform) == (40, 34, 6, 34)
    found = letters(platform)
    assert {(one.destination, one.step) for one in found} == {("postgres", "deliver")}

    tried = dead("replay", "--stream", platform.stream, "--destination", "postgres", "--yes")
    assert (tried["delivered"], tried["refused"]) == (0, 6)
    assert {(str(one.state), one.attempts) for one in letters(platform)} == {("waiting", 1)}
    assert _books(platform) == (40, 34, 6, 34)

    first = found[0].id
    mended = dead("fix", first, "--set", "amount=7")
    assert (mended["outcome"], mended["changed"]) == ("kept", ["amount"])
    dead("fix", found[1].id, "--set", "amount=8")
    some = dead("replay", first, found[1].id, found[2].id)  # the third as it is: found among its neighbours
    assert (some["delivered"], some["refused"]) == (2, 1)
    assert _books(platform) == (40, 36, 4, 36)

    _when_there(platform, "ALTER TABLE {} DROP CONSTRAINT small")
    dead("discard", found[3].id)
    assert dead("replay", "--stream", platform.stream, "--yes")["delivered"] == 3
    assert states(platform) == {"replayed": 5, "discarded": 1}
    assert _books(platform) == (40, 39, 1, 39)
    assert len(ids_in_postgres(platform)) == 39 and len(ids_in_mongo(platform)) == 40
    assert platform.cleaned() == 40, "nothing went through the pipeline again"
    assert _amounts(platform) >= {7, 8, 5_000}


def test_what_identifies_an_event_can_not_be_changed_and_a_route_that_is_gone_is_told(
    shop: tuple[Platform, Commands],
) -> None:
    platform, dead = shop
    letter = letters(platform)[0].id
    still = dead("fix", letter, "--set", 'id="other"', code=1)
    assert (still["outcome"], still["field"], still["fixed"]) == ("rejected", "id", False)
    assert dead("fix", letter, "--set", 'amount="many"', code=1)["outcome"] == "rejected"
    assert "cleaned from raw by its own cleaner" in dead.text("fix", letter, "--version", 2, code=2)

    platform.only("mongo")
    publish_contract(platform.settings.postgres, platform.contract_file)
    said = dead.text("replay", letter, code=1)
    assert said.startswith("Not replayed, and still here: 1 dead letter, such as: ")
    assert "no route to postgres. Its dead letters can't be replayed" in said
    assert states(platform) == {"waiting": 6}
    assert "no route to" in dead.text("show", letter)


def test_replays_of_two_at_once_deliver_each_event_once(shop: tuple[Platform, Commands]) -> None:
    platform, dead = shop
    _when_there(platform, "ALTER TABLE {} DROP CONSTRAINT small")
    found = letters(platform)

    def replay(_: int) -> ReplayResult:
        registry = Registry(platform.settings.postgres)
        try:
            return Replayer(platform.settings, registry.session, platform.keyring, print).replay(found)
        except Retryable:  # the other one was there first
            return ReplayResult()
        finally:
            registry.close()

    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(replay, range(3)))
    left = dead("replay", "--stream", platform.stream, "--yes")["delivered"]
    assert sum(one.taken for one in results) + left == 6
    assert states(platform) == {"replayed": 6}
    assert _replays_taken(platform) == 6
    assert "replayed, so it can't be replayed" in dead.text("replay", found[0].id, code=2)


def _replays_taken(platform: Platform) -> int:
    """As the store counts them."""
    contract = platform.contract
    route = contract.route("postgres")
    group = replay_group(platform.stream, 1, "postgres")
    store = open_destination(platform.settings, route, bind(contract).schema, group)
    taken = store.accounts(platform.ids[f"clean.{platform.stream}.v1"])
    store.close()
    return sum(one.delivered for one in taken)


def _event(number: int, amount: int) -> bytes:
    return b'{"id":"b%d","at":"2026-01-01T00:00:00Z","amount":%d,"note":"welcome"}' % (number, amount)


def _books(platform: Platform) -> tuple[int, int, int, int]:
    """Expected, delivered, refused and held of Postgres, once all have come to it; they must add up."""

    def passed() -> DestinationBalance | None:
        found = platform.balance()
        (one,) = [each for each in found.destinations if each.name == "postgres"]
        return one if one.expected == 40 and found.balanced else None

    one: DestinationBalance = until(passed, every=0.2)
    assert one.row_count is not None
    return one.expected, one.delivered, one.refused, one.row_count


def _amounts(platform: Platform) -> set[Any]:
    with psycopg.connect(platform.settings.postgres) as session:
        found = session.execute(SQL("SELECT amount FROM {}").format(Identifier(platform.stream)))
        return {amount for (amount,) in found}


def _when_there(platform: Platform, statement: str) -> None:
    """Change the table, once the deliverer has made it."""
    with psycopg.connect(platform.settings.postgres, autocommit=True) as session:
        there = ("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (platform.stream,))
        until(lambda: session.execute(*there).fetchone() == (True,))
        session.execute(SQL(statement).format(Identifier(platform.stream)))
