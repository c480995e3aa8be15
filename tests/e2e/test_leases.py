"""Leases in real Postgres: one holder, fair shares, and a holder that was thought dead moves no position."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clearwell.errors import Fenced
from clearwell.registry import State, connectors, leases, positions
from clearwell.registry.positions import Counts
from clearwell.settings import Settings
from tests.support.collecting import Sandbox, until

Unique = Callable[[str], str]


@pytest.fixture
def sandbox(stack: Settings, unique: Unique, tmp_path: Path) -> Iterator[Sandbox]:
    """A stream of its own on the test stack."""
    made = Sandbox(stack, unique("leased"), tmp_path)
    yield made
    made.close()


def take(sandbox: Sandbox, me: str, names: list[str], room: int = 99, seconds: float = 60) -> dict[str, int]:
    """Take leases in a transaction of their own."""
    with sandbox.registry.session() as session:
        return leases.take(session, me, names, room, seconds)


def test_one_holder_until_the_end_of_the_lease(sandbox: Sandbox, unique: Unique) -> None:
    name = sandbox.add(unique("c"))
    assert take(sandbox, "a", [name], seconds=0.3) == {name: 1}
    assert take(sandbox, "b", [name]) == {}
    with sandbox.registry.session() as session:
        assert leases.renew(session, "b", [(name, 1)], 60) == set()
        assert leases.renew(session, "a", [(name, 1)], 0.3) == {name}
    until(lambda: take(sandbox, "b", [name]) == {name: 2}, 5)
    with sandbox.registry.session() as session:
        assert leases.renew(session, "a", [(name, 1)], 60) == set()
        leases.release(session, "a", name, 1)
    assert take(sandbox, "a", [name]) == {}
    with sandbox.registry.session() as session:
        leases.release(session, "b", name, 2)
    assert take(sandbox, "a", [name]) == {name: 3}


def test_a_holder_thought_dead_moves_no_position(sandbox: Sandbox, unique: Unique) -> None:
    """Invariant 1: also when its save began before the lease was taken from it."""
    name = sandbox.add(unique("c"))
    epoch = take(sandbox, "a", [name], seconds=0.1)[name]
    with sandbox.registry.session() as session:
        assert positions.save(session, name, 0, {"offset": 1}, Counts(1), epoch=epoch) == 1
    until(lambda: take(sandbox, "b", [name]) != {}, 5)
    with pytest.raises(Fenced), sandbox.registry.session() as session:
        positions.save(session, name, 1, {"offset": 2}, Counts(1), epoch=epoch)
    with sandbox.registry.session() as session:
        assert positions.save(session, name, 1, {"offset": 2}, Counts(1), epoch=epoch + 1) == 2


def test_a_save_that_waits_for_the_taker_is_refused(sandbox: Sandbox, unique: Unique) -> None:
    """Invariant 1: the taker's transaction is open while the old holder saves; nothing comes in between."""
    name = sandbox.add(unique("c"))
    epoch = take(sandbox, "a", [name], seconds=0.001)[name]
    refused = threading.Event()

    def save() -> None:
        try:
            with sandbox.registry.session() as session:
                positions.save(session, name, 0, {"offset": 9}, Counts(9), epoch=epoch)
        except Fenced:
            refused.set()

    with sandbox.registry.session() as session:
        assert leases.take(session, "b", [name], 1, 60) == {name: epoch + 1}
        saving = threading.Thread(target=save)
        saving.start()
        saving.join(0.3)
        assert saving.is_alive(), "the save should wait for the taker"
    saving.join(5)
    assert refused.is_set()
    assert sandbox.state(name)[1].position is None


def test_only_what_is_to_run_is_taken(sandbox: Sandbox, unique: Unique) -> None:
    names = [sandbox.add(unique("c")) for _ in range(3)]
    with sandbox.registry.session() as session:
        connectors.set_state(session, names[0], State.PAUSED, "pause")
        connectors.remove(session, names[1])
    assert take(sandbox, "a", names) == {names[2]: 1}


def test_the_shares_add_up(sandbox: Sandbox, unique: Unique) -> None:
    scope = unique("scope")
    me = [f"{scope}-{n}" for n in range(3)]
    for one in me:
        with sandbox.registry.session() as session:
            leases.beat(session, one, one, scope)
    with sandbox.registry.session() as session:
        assert [leases.share(session, one, scope, 7, 60) for one in me] == [3, 2, 2]
        assert [leases.share(session, one, scope, 2, 60) for one in me] == [1, 1, 0]
        leases.leave(session, me[0])
        assert [leases.share(session, one, scope, 7, 60) for one in me[1:]] == [4, 3]
        leases.leave(session, me[1])
        leases.leave(session, me[2])


def test_two_takers_at_once_get_each_connector_once(sandbox: Sandbox, unique: Unique) -> None:
    names = [sandbox.add(unique("c")) for _ in range(20)]
    got: dict[str, dict[str, int]] = {}
    barrier = threading.Barrier(4)

    def race(me: str) -> None:
        barrier.wait()
        got[me] = take(sandbox, me, names)

    racers = [threading.Thread(target=race, args=(f"racer-{n}",)) for n in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    taken = [name for one in got.values() for name in one]
    assert sorted(taken) == sorted(names)
