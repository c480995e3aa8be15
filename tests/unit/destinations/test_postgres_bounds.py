"""A call to PostgreSQL ends, and means what it should, whatever the network and the server do (invariant 12)."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import errors

from clearwell.deadline import VARIABLE, broken_off, call_seconds
from clearwell.destinations.platform_positions import PlatformPositions
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.destinations.postgres.errors import on_statement
from clearwell.destinations.protocol import RowReason, RowsRefused
from clearwell.errors import ConfigError, Fatal, Retryable
from clearwell.registry import Registry
from tests.conformance.stores import SIMPLE
from tests.support.mute_postgres import mute_postgres


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0.3")


@pytest.mark.parametrize("client", ["destination", "positions", "registry"])
def test_a_server_that_takes_all_and_answers_nothing_is_given_up(client: str) -> None:
    with mute_postgres() as address:
        began = time.monotonic()
        with pytest.raises(Retryable, match=r"has not answered for 0\.3 s") as told:
            if client == "destination":
                PostgresDestination(address, SIMPLE, "events", "group").open()
            elif client == "positions":
                PlatformPositions(address, "group").create()
            else:
                with Registry(address).connection():
                    pass
        assert time.monotonic() - began < 2
        assert "pw-canary" not in str(told.value)


@pytest.mark.parametrize("state", ["25P03", "57P01", "57P05", "08006", "53300", "25P04"])
def test_a_session_that_the_server_ends_is_tried_again(state: str) -> None:
    with mute_postgres(refuse=state) as address:
        with pytest.raises(Retryable) as told:
            PlatformPositions(address, "group").create()
        with pytest.raises(Retryable), Registry(address).connection():
            pass
    assert "canary" not in str(told.value)


WORLD = """0A000 08000 08003 08006 08P01 25006 25P02 25P03 25P04 26000 34000 40001 40P01 53000 53100 53200 53300 53400
    55006 55P03 57014 57P01 57P02 57P03 57P04 57P05 58000 58030 58P01 72000 HV000 XX000 XX001"""


@pytest.mark.parametrize("state", WORLD.split())
def test_every_state_of_a_bad_world_is_tried_again(state: str) -> None:
    assert isinstance(on_statement(_error(state), "Postgres", "write"), Retryable)


@pytest.mark.parametrize("state", ["P0001", "P0004", "38001", "39004", "44000", "23514", "09000", "ABC01", "U0001"])
def test_a_row_that_a_trigger_refuses_is_refused_whatever_its_state(state: str) -> None:
    told = on_statement(_error(state), "Postgres", "write")
    assert isinstance(told, RowsRefused) and told.reason is RowReason.CONSTRAINT


@pytest.mark.parametrize("state", ["42501", "42P01", "21000", "28000", "3D000", "54000"])
def test_what_a_trigger_raises_is_about_the_row_also_under_a_state_of_the_servers(state: str) -> None:
    assert isinstance(on_statement(_error(state, "exec_stmt_raise"), "Postgres", "write"), RowsRefused)


@pytest.mark.parametrize("state", ["40001", "53100", "57014"])
def test_a_trigger_may_ask_to_be_tried_again(state: str) -> None:
    assert isinstance(on_statement(_error(state, "exec_stmt_raise"), "Postgres", "write"), Retryable)


@pytest.mark.parametrize("state", ["21000", "20000"])
def test_what_nobody_knows_is_still_an_end(state: str) -> None:
    assert isinstance(on_statement(_error(state), "Postgres", "write"), Fatal)


def test_the_bound_is_a_minute_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call_seconds({}) == 60
    for wrong in ("61", "0", "soon", "inf", "nan"):
        with pytest.raises(ConfigError, match="CLEARWELL_CALL_SECONDS"):
            call_seconds({VARIABLE: wrong})


def test_a_context_that_lasts_too_long_is_broken_off() -> None:
    broken: list[bool] = []
    with pytest.raises(TimeoutError), broken_off(0.05, lambda: broken.append(True)):
        while not broken:
            time.sleep(0.01)
        raise OSError
    with broken_off(10, lambda: broken.append(False)):
        pass
    assert broken == [True]


def _error(state: str, function: str | None = None) -> psycopg.Error:
    kind: type[psycopg.Error] = errors.lookup(state) if state in errors._sqlcodes else psycopg.DatabaseError
    diag = SimpleNamespace(
        source_function=function,
        column_name=None,
        schema_name=None,
        table_name=None,
        message_primary="",
        sqlstate=state,
    )

    class Told(kind):  # type: ignore[valid-type,misc]
        sqlstate = state

        @property
        def diag(self) -> Any:
            return diag

    return Told("the canary is in the text")
