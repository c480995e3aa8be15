"""`PushSourceSuite`: what every source that is sent events must do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import pytest

from clearwell.source import Request, RequestRefused, SourceEvent
from clearwell.testing import reading
from clearwell.testing.source_cases import CANARY, HOSTILE, require_clear
from clearwell.testing.source_spec import ConfiguredSuite


class PushCase(Protocol):
    """One configured push source, and requests as its senders make them."""

    @property
    def kind(self) -> str:
        """The source's entry point."""

    @property
    def config(self) -> Mapping[str, Any]:
        """What a connector's specification would hold; secrets as references."""

    def request(self, count: int) -> Request:
        """A request with the next `count` events, numbered on from 0 as in `SourceCase.fill`."""

    def around(self, body: bytes) -> Request:
        """A request that is right (signed and so on) but for its body."""

    def forged(self) -> Mapping[str, Request]:
        """Requests that must be refused, by what is wrong with them."""

    def number(self, data: bytes) -> int:
        """The N of an event's data as the source gives it. Raises any Exception when it has none."""


class PushSourceSuite(ConfiguredSuite):
    """Subclass it, and give the fixture `case` (a `PushCase`)."""

    def test_requests_become_events(self, case: Any) -> None:
        """Every event of a request, once, in its order, with ids that no other has."""
        source = self.make(case)
        events: list[SourceEvent] = []
        for count in (1, 1, 5):
            events += source.receive(case.request(count))
        assert [case.number(event.data) for event in events] == list(range(7)), "Events are lost, doubled or moved."
        assert len({event.id for event in events}) == 7, "Two events have the same id."

    def test_a_repeated_request_has_the_same_ids(self, case: Any) -> None:
        """What is sent again, also to another process, is the same events."""
        request = case.request(3)
        first = [event.id for event in self.make(case).receive(request)]
        assert first == [event.id for event in self.make(case).receive(request)], "A repeat has other ids."

    def test_forged_requests_are_refused(self, case: Any) -> None:
        """Each with a status of 4xx or 5xx, one clear sentence, no secret."""
        source = self.make(case)
        for what, request in case.forged().items():
            with pytest.raises(RequestRefused) as refused:
                source.receive(request)
            require_clear(refused.value)
            assert 400 <= refused.value.status < 600, f"{what}: refused with status {refused.value.status}."
            assert not any(secret in str(refused.value) for secret in self.secrets(case)), f"{what}: a secret is told."
            assert source.receive(case.request(1)), f"{what}: afterwards a good request gave nothing."

    def test_hostile_bodies(self, case: Any) -> None:
        """Whatever a body holds, it becomes events or is refused without being quoted, and the next one flows."""
        source = self.make(case)
        for name, data in {**HOSTILE, "nothing": b"", "quoted": CANARY.encode()}.items():
            try:
                events = source.receive(case.around(data))
            except RequestRefused as error:
                require_clear(error)
                assert CANARY not in str(error), f"{name}: the refusal quotes the body."
            else:
                assert all(event.id for event in events), f"{name}: an event has an empty id."
            assert len(source.receive(case.request(1))) == 1, f"{name}: afterwards a good request gave nothing."

    def test_close_is_idempotent(self, case: Any) -> None:
        """Closing twice, before and after requests, is harmless and leaves nothing open."""

        async def close_twice(source: Any) -> None:
            await source.close()
            await source.close()

        with reading.nothing_left_open():
            asyncio.run(close_twice(self.make(case)))
            source = self.make(case)
            source.receive(case.request(1))
            asyncio.run(close_twice(source))

    def use(self, source: Any) -> None:
        """Have it refuse a request."""
        try:
            source.receive(Request("POST", {}, {}, CANARY.encode()))
        except RequestRefused as error:
            require_clear(error)
