"""A case of a source seen from the kill tests: it is filled, and says which events a collector will never get again."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from clearwell.errors import Retryable
from clearwell.plugins.spec import open_source
from clearwell.source import Batch, stored_position
from clearwell.testing import reading
from tests.support.sources.webhook import WebhookCase


class PulledFeed:
    """Over a source that is read. Its events keep their order in each of `lanes` lanes, dealt out in turn."""

    def __init__(self, case: Any, lanes: int = 1) -> None:
        self.finite: bool = case.finite
        self.filled = 0
        self._case = case
        self._lanes = lanes

    def fill(self, count: int) -> None:
        """Add the next `count` events."""
        self._case.fill(count)
        self.filled += count

    def settle(self) -> None:
        """All is where a collector finds it."""

    def claimed(self, position: Mapping[str, Any] | None) -> set[int]:
        """The events that nobody gets who reads on from a saved position, found by reading on."""
        self.fill(self._lanes)  # so that every lane has something to give
        first: dict[int, int] = {}
        sure = time.monotonic() + getattr(self._case, "again_seconds", 0.0)

        def all_lanes_gave(batches: list[Batch]) -> bool:
            for event in batches[-1][0]:
                number = self._case.number(event.data)
                first[number % self._lanes] = min(number, first.get(number % self._lanes, number))
            return len(first) == self._lanes and time.monotonic() > sure

        for _ in range(20):
            source, _ = open_source(self._case.kind, self._case.config)
            try:
                reading.run(reading.take(source, stored_position(position, source.Position), all_lanes_gave))
                break
            except Retryable:  # the server has not yet noticed that the collector is dead
                time.sleep(0.2)
        assert len(first) == self._lanes, "From the saved position not even the last event is read."
        return {number for number in range(self.filled) if number < first[number % self._lanes]}


class PushedFeed:
    """Over a source that is sent its events, by senders that try again until they are answered."""

    finite = False

    def __init__(self, case: WebhookCase, port: int, path: str, dice: Callable[[int, int], int]) -> None:
        self.filled = 0
        self._case, self._port, self._path, self._dice = case, port, path, dice
        self._answered: set[int] = set()
        self._over = threading.Event()
        self._senders = ThreadPoolExecutor(4, "sender")
        self._sent: list[Future[None]] = []

    def fill(self, count: int) -> None:
        """Send the next `count` events, a few in each request, soon."""
        while count > 0:
            some = min(count, self._dice(1, 5))
            numbers = range(self.filled, self.filled + some)
            self._sent.append(self._senders.submit(self._send, self._case.request(some), numbers))
            self.filled += some
            count -= some

    def settle(self) -> None:
        """Every request was answered in the end."""
        for one in self._sent:
            one.result(60)

    def claimed(self, position: Mapping[str, Any] | None) -> set[int]:
        """What was answered is not sent again."""
        return set(self._answered)

    def close(self) -> None:
        """Give up what is not answered."""
        self._over.set()
        self._senders.shutdown()

    def _send(self, request: Any, numbers: range) -> None:
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=15)
            try:
                connection.request(request.method, self._path, request.body, dict(request.headers))
                status = connection.getresponse().status
                if status == HTTPStatus.OK:
                    self._answered.update(numbers)
                    return
                assert status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.NOT_FOUND, status
            except (OSError, http.client.HTTPException):
                pass  # nobody listens just now, or it was killed before it answered
            finally:
                connection.close()
            self._over.wait(0.05)
