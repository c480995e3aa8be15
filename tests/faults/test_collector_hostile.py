"""The collector beside the hostile source: each fault ends in a clear state, and no other connector notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clearwell.registry import State
from clearwell.settings import Settings
from clearwell.testing.hostile import Fault
from services.collector.collector import Collector
from tests.support.collecting import Sandbox, header, until
from tests.support.sources.hostile import HostileCase, install

pytestmark = pytest.mark.slow

EVENTS = 11
UNFORESEEN = "The source has a bug"
FAILS = {
    Fault.RAISES_MIDWAY: "(KeyError)",
    Fault.STUMBLES: "(DecodeError)",
}
"""Faults that end a connector, and what is told."""

READ = "The source read 11 items, but"
DIFFERENCES = {
    Fault.REPEATS: (1, f"{READ} 12 events were made of them (12 accepted, 0 refused): 1 are too many."),
    Fault.DROPS_BAD_DATA: (-1, f"{READ} 10 events were made of them (10 accepted, 0 refused): 1 are missing."),
}
"""Faults that the account of what the source read shows: how many events there are besides, and what is told."""

UNSEEN = (Fault.UNSTABLE_IDS, Fault.SAME_IDS, Fault.POSITION_AHEAD, Fault.POSITION_BEHIND, Fault.POSITION_FOREIGN,
          Fault.POSITION_FORGOTTEN, Fault.REORDERS, Fault.LOSES_LAST,
          Fault.REVEALS_IN_ERRORS, Fault.REVEALS_IN_LOGS, Fault.REVEALS_IN_REPR, Fault.RAISES_FOREIGN,
          Fault.PASSES_CHECK,
          Fault.UNTYPED, Fault.LEAVES_TASK, Fault.LEAVES_SOCKET, Fault.CLOSES_ONCE)  # fmt: skip
"""Faults that a collector can't see or need not care for: only the suite tells; the connector ends as finished."""


@pytest.fixture
def sandbox(
    stack: Settings, unique: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sandbox]:
    """A stream of its own, with the hostile source installed."""
    monkeypatch.syspath_prepend(str(install(tmp_path / "site")))
    made = Sandbox(stack, unique("events"), tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("fault", [*UNSEEN, *FAILS, *DIFFERENCES])
def test_each_ending(fault: Fault, sandbox: Sandbox, unique: Callable[[str], str], tmp_path: Path) -> None:
    case = HostileCase(tmp_path, fault)
    case.fill(EVENTS - 1)
    case.put(b"no json")
    name = sandbox.add(unique("hostile"), "hostile", **case.config)
    sandbox.collect(name)
    connector, _ = sandbox.state(name)
    if fault in FAILS:
        assert connector.state is State.FAILING
        assert (
            connector.last_error is not None
            and UNFORESEEN in connector.last_error
            and FAILS[fault] in connector.last_error
        )
    else:
        besides, told = DIFFERENCES.get(fault, (-1 if fault is Fault.LOSES_LAST else 0, None))
        assert (connector.state, connector.last_error) == (State.FINISHED, told)
        assert len(sandbox.new_records()) == EVENTS + besides


@pytest.mark.parametrize("fault", [Fault.RETRIES_FOR_EVER, Fault.SILENT, Fault.IGNORES_CANCELLATION,
                                   Fault.SWALLOWS_CANCELLATION, Fault.HANGS_IN_CLOSE])  # fmt: skip
def test_a_good_connector_flows_beside_it(
    fault: Fault, sandbox: Sandbox, unique: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    bad, good = HostileCase(tmp_path / "bad", fault, finite=False), HostileCase(tmp_path)
    bad.fill(EVENTS)
    good.fill(EVENTS)
    names = [sandbox.add(unique(word), "hostile", **case.config) for word, case in (("bad", bad), ("good", good))]

    async def collect() -> int:
        stop = asyncio.Event()
        running = asyncio.create_task(Collector(sandbox.registry, sandbox.settings, names).run(stop))
        await asyncio.to_thread(until, lambda: sandbox.state(names[1])[0].state is State.FINISHED)
        stop.set()
        async with asyncio.timeout(20):
            return await running

    code = asyncio.run(collect())
    sources = {header(record, "ce_source") for record in sandbox.new_records()}
    assert any(names[1] in str(source) for source in sources)
    assert code in (0, 70)
