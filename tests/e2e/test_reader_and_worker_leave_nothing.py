"""What our users of aiokafka and Faust leave behind: nothing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from clearwell.kafka import admin
from clearwell.kafka.names import clean_topic, cleaner_group
from clearwell.kafka.range_reader import reader
from clearwell.settings import Settings
from tests.support.platform import CHECKOUT, Platform, numbered, until
from tests.support.processes import killed_at_end


class Broken(Exception):
    """What goes wrong in the body."""


def test_a_body_that_fails_at_once_is_what_is_raised(stack: Settings) -> None:
    async def fail() -> None:
        with pytest.raises(Broken):
            async with reader(stack.kafka):
                raise Broken
        assert asyncio.all_tasks() == {asyncio.current_task()}, "the reader was not closed"

    asyncio.run(fail())


def test_a_fetch_that_waits_to_be_tried_again_is_nobodys_failure(stack: Settings) -> None:
    """As after a request that timed out: aiokafka raises its cancellation at whoever closes the consumer."""

    async def read() -> str:
        async with reader(stack.kafka) as log:
            waiting = [asyncio.create_task(asyncio.sleep(3_600)) for _ in range(2)]
            await asyncio.sleep(0)
            log._consumer._fetcher._pending_tasks.update(waiting)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "something was left"
        return "read"

    assert asyncio.run(read()) == "read"


@pytest.mark.slow
def test_a_run_leaves_its_working_directory_clean(platform: Platform, tmp_path: Path) -> None:
    folder = tmp_path / "working"
    folder.mkdir()
    platform.put(numbered(10))
    with (tmp_path / "log").open("ab") as log:
        argv = [sys.executable, "-m", "services.worker", "--job", cleaner_group(platform.stream, 1)]
        env = platform.env() | {"PYTHONPATH": str(CHECKOUT)}
        with killed_at_end(argv, env=env, cwd=folder, stdout=log, stderr=log) as cleaner:
            topic = clean_topic(platform.stream, 1)
            until(lambda: sum(admin.end_offsets(platform.settings.kafka, topic).values()) == 10)
            cleaner.terminate()
            assert cleaner.wait(30) == 0
    assert list(folder.iterdir()) == []
