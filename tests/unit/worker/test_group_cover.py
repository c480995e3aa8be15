"""What keeps a job from looking after its group's partitions ends it, with the reason."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clearwell.errors import ConfigError
from clearwell.kafka.coverage import Coverage
from clearwell.kafka.log_client import LogClient
from clearwell.worker import job_run


class Refusing:
    """A cluster that does not let us see its groups."""

    def unheld(self, group: str, topic: str) -> set[int] | None:
        raise ConfigError("refused the right")


def test_what_can_not_be_looked_at_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_run, "LOOK_S", 0.001)
    monkeypatch.setattr(job_run, "consumer_of", lambda app: SimpleNamespace(sharing=lambda topic: (1, 4)))
    app: Any = None
    coverage = Coverage(cast(LogClient, Refusing()), "cleaner.flights.v1", "raw.flights")

    async def scene() -> BaseException:
        ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        watching = asyncio.create_task(job_run._cover(app, "raw.flights", coverage, ended.set_result))
        try:
            return await asyncio.wait_for(ended, 5)
        finally:
            watching.cancel()

    assert "refused the right" in str(asyncio.run(scene()))
