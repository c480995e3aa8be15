"""The suite's own test: a good source passes, and each broken obligation of the hostile one is caught."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clearwell.testing import SourceSuite, hostile, reading
from clearwell.testing.hostile import Fault
from tests.support.sources.hostile import HostileCase, install


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site")))


class TestFinite(SourceSuite):
    """Without a fault, a source that ends."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> HostileCase:
        """A file."""
        return HostileCase(tmp_path)


@pytest.mark.slow
class TestEndless(SourceSuite):
    """Without a fault, a source that waits."""

    heartbeat = 0.3

    @pytest.fixture
    def case(self, tmp_path: Path) -> HostileCase:
        """A file."""
        return HostileCase(tmp_path, finite=False)


CAUGHT = {
    Fault.UNSTABLE_IDS: ("ids_are_stable_and_unique", "gives other ids"),
    Fault.SAME_IDS: ("ids_are_stable_and_unique", "have the same id"),
    Fault.LOSES_LAST: ("every_event_once_in_order", "were lost: \\[22\\]"),
    Fault.REPEATS: ("every_event_once_in_order", "came twice: \\[1, 1\\]"),
    Fault.REORDERS: ("every_event_once_in_order", "Not in the source's order"),
    Fault.POSITION_AHEAD: ("resume_from_every_position", "were lost: \\[4\\]"),
    Fault.POSITION_BEHIND: ("restart_after_every_batch", "were lost|came twice"),
    Fault.POSITION_FORGOTTEN: ("resume_from_every_position", "read before"),
    Fault.POSITION_FOREIGN: ("positions_survive_the_registry", "none of the source's"),
    Fault.STUMBLES: ("hostile_data", "JSON"),
    Fault.DROPS_BAD_DATA: ("hostile_data", "hostile items made"),
    Fault.REVEALS_IN_ERRORS: ("secrets_stay_secret", "secret can be read"),
    Fault.REVEALS_IN_LOGS: ("secrets_stay_secret", "secret can be read"),
    Fault.REVEALS_IN_REPR: ("secrets_stay_secret", "secret can be read"),
    Fault.RAISES_FOREIGN: ("check_fails_clearly", "ValueError instead"),
    Fault.PASSES_CHECK: ("check_fails_clearly", "finds nothing wrong"),
    Fault.RAISES_MIDWAY: ("every_event_once_in_order", "midway"),
    Fault.RETRIES_FOR_EVER: ("every_event_once_in_order", "pretended server is down"),
    Fault.UNTYPED: ("discover_gives_typed_fields", "varchar"),
    Fault.SWALLOWS_CANCELLATION: ("cancellation_at_every_await", "swallowed it"),
    Fault.IGNORES_CANCELLATION: ("cancellation_at_every_await", "reading goes on|swallowed it"),
    Fault.LEAVES_TASK: ("cancellation_at_every_await", "left behind"),
    Fault.LEAVES_SOCKET: ("cancellation_at_every_await", "left open|to close"),
    Fault.HANGS_IN_CLOSE: ("close_is_idempotent", "not done after"),
    Fault.CLOSES_ONCE: ("close_is_idempotent", "closed already"),
    Fault.MISCOUNTS: ("items_are_counted", "counted 3 items and gave 4 events"),
    Fault.SILENT: ("heartbeats", "Nothing was heard|not done after"),
}
WAITING = (Fault.SWALLOWS_CANCELLATION, Fault.IGNORES_CANCELLATION, Fault.SILENT)


def test_no_fault_is_forgotten() -> None:
    assert set(CAUGHT) == set(Fault) - {Fault.NONE}


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(CAUGHT))
def test_each_fault_is_caught(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reading, "PATIENCE", 2.0)
    monkeypatch.setattr(reading, "LINGER", 0.3)
    monkeypatch.setattr(hostile, "HEARTBEAT_SECONDS", 0.3)
    monkeypatch.setattr("clearwell.testing.sources.HEARTBEAT_SECONDS", 0.5)
    case = HostileCase(tmp_path, fault, finite=fault not in WAITING)
    test, message = CAUGHT[fault]
    with pytest.raises(Exception, match=message):
        getattr(SourceSuite(), f"test_{test}")(case, *([caplog] if test == "secrets_stay_secret" else []))
    _forget_what_was_left()


def _forget_what_was_left() -> None:
    for one in hostile._LEFT:
        if hasattr(one, "detach"):
            one.close()
    hostile._LEFT.clear()


def test_a_config_that_takes_anything_is_caught(tmp_path: Path) -> None:
    case = HostileCase(tmp_path)
    case.kind, case.config = "lax", {"path": str(tmp_path)}
    suite = SourceSuite()
    with pytest.raises(pytest.fail.Exception):
        suite.test_unknown_key_refused(case)
    with pytest.raises(pytest.fail.Exception):
        suite.test_spec_round_trip(case)


EXCUSED = """
from pathlib import Path
import pytest
from clearwell.testing import SourceSuite
from tests.support.sources.hostile import HostileCase

class TestExcused(SourceSuite):
    cannot = {"test_check_passes": "no reason", "test_ids_are_stable_and_unique": "its ids are made up"}
    skipped = {"test_hostile_data": "not meant for it"}

    @pytest.fixture
    def case(self, tmp_path: Path) -> HostileCase:
        from clearwell.testing.hostile import Fault
        return HostileCase(tmp_path, Fault.UNSTABLE_IDS)
"""


def test_what_a_source_is_said_not_to_do_must_fail(tmp_path: Path) -> None:
    """An excuse that is no longer needed fails; a needed one does not."""
    (tmp_path / "test_excused.py").write_text(EXCUSED)
    wanted = "check_passes or ids_are_stable or hostile_data"
    code = f"import sys; sys.path[:0] = {[str(tmp_path / 'site'), str(Path.cwd())]!r}; import pytest; pytest.main()"
    command = [sys.executable, "-c", code.replace("main()", f"main(['-q', '-k', {wanted!r}, {str(tmp_path)!r}])")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False).stdout
    assert "1 failed, 1 skipped" in said and "1 xfailed" in said, said
    assert "[XPASS(strict)] no reason" in said
