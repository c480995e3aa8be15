"""A topic's identity: one question serves all who were waiting before it, none who came after it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from clearwell.errors import Fatal, Retryable
from clearwell.worker.topic_identity import TopicIdentity


def test_a_recreated_topic_is_noticed() -> None:
    answers = ["first", "first", "second"]

    async def scenario() -> None:
        identity = TopicIdentity("raw.flights", lambda: answers.pop(0))
        assert await identity.refresh() == "first"
        assert await identity.confirm() == "first"
        with pytest.raises(Fatal, match=r"raw\.flights was deleted and made again"):
            await identity.confirm()

    asyncio.run(scenario())


def test_an_answer_is_never_older_than_the_question() -> None:
    """The id changes while a question is under way: who asks now must get the new one."""
    asked, release = threading.Event(), threading.Event()
    now = "first"

    def ask() -> str:
        answer = now
        asked.set()
        assert release.wait(5)
        return answer

    async def scenario() -> None:
        nonlocal now
        identity = TopicIdentity("raw.flights", ask)
        identity.id = "first"
        early = asyncio.create_task(identity.confirm())
        assert await asyncio.to_thread(asked.wait, 5)
        now = "second"
        late = asyncio.create_task(identity.confirm())
        await asyncio.sleep(0)
        release.set()
        assert await early == "first"
        with pytest.raises(Fatal):
            await late

    asyncio.run(scenario())


def test_many_slices_share_questions() -> None:
    questions = 0

    def ask() -> str:
        nonlocal questions
        questions += 1
        return "first"

    async def scenario() -> None:
        identity = TopicIdentity("raw.flights", ask)
        await identity.refresh()
        await asyncio.gather(*(identity.confirm() for _ in range(100)))

    asyncio.run(scenario())
    assert questions <= 3


def test_a_broker_that_is_away_is_waited_for() -> None:
    answers: list[str | Exception] = [Retryable("Kafka is away."), Retryable("Kafka is away."), "first"]

    def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def scenario() -> None:
        assert await TopicIdentity("raw.flights", ask).refresh() == "first"

    asyncio.run(scenario())
