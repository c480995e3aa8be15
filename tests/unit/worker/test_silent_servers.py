"""Servers that are silent, and tables that are gone: found out by asking, told in one sentence (invariants 11, 12)."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from clearwell.deadline import VARIABLE
from clearwell.destinations.protocol import Accounts
from clearwell.errors import ConfigError, Retryable
from clearwell.worker import faust_app, transport
from clearwell.worker.deliverer import require_table
from clearwell.worker.destination_thread import DestinationThread
from connectors.postgres_cdc.stream import Stream


def test_a_replication_that_is_silent_is_asked_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0.2")
    monkeypatch.setattr("connectors.postgres_cdc.stream.STATUS_SECONDS", 0.05)
    stream: Any = object.__new__(Stream)
    asked: list[bool] = []
    stream._server = SimpleNamespace(place="Postgres at host:5432/db")
    stream._poll = SimpleNamespace(poll=lambda _milliseconds: time.sleep(0.02) or [])
    stream._heard, stream._next_status = time.monotonic(), 0.0
    stream.flushed = stream._reported = 0
    stream.tell = lambda ask=False: asked.append(ask)
    with pytest.raises(Retryable, match="has sent nothing for 0 s"):
        while time.monotonic() - stream._heard < 5:
            stream.wait(0.02)
            stream.look_after()
    assert not asked[0] and asked[-1]


class _Gone:
    """A destination whose table is there, or not, and that has delivered so many events."""

    kind = "postgres"

    def __init__(self, there: bool, delivered: int) -> None:
        self._there, self._delivered = there, delivered

    def is_there(self) -> bool:
        return self._there

    def accounts(self, _topic_id: str) -> list[Accounts]:
        return [Accounts(0, 10, delivered=self._delivered), Accounts(1, 10, delivered=self._delivered)]

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("there", "delivered"), [(True, 5), (True, 0), (False, 0), (False, 600)])
def test_a_table_that_is_gone_is_not_made_anew_in_silence(there: bool, delivered: int) -> None:
    async def scene() -> None:
        store = DestinationThread(_Gone(there, delivered))  # type: ignore[arg-type]
        identity: Any = SimpleNamespace(refresh=lambda: asyncio.sleep(0, "topic-id"))
        try:
            await require_table(store, identity, "postgres")
        finally:
            store.close()

    if there or not delivered:
        asyncio.run(scene())
    else:
        with pytest.raises(ConfigError, match=r"table of postgres is gone, and with it 1,200 events.*replay postgres"):
            asyncio.run(scene())


def test_a_produce_request_ends_long_before_its_batch() -> None:
    async def scene() -> None:
        positions: Any = SimpleNamespace()
        app = faust_app.build_app("group", "127.0.0.1:1", positions)
        made: Any = app.producer
        producer = made._new_producer()
        try:
            seconds = transport.REQUEST_SECONDS
            assert seconds <= 60
            assert producer.client._request_timeout_ms == producer._sender._request_timeout_ms == seconds * 1000
            assert producer._message_accumulator._batch_ttl == faust_app.REQUEST_TIMEOUT > seconds
        finally:
            producer._closed = True

    asyncio.run(scene())
