"""A model in a process of its own that leaves its loop in some way, for tests that wait for the process's end.

Arguments: Kafka's address, stream, name of the subscription, the way. Writes "got" once it has its first batch.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from follower import schema  # type: ignore[import-not-found, unused-ignore]

from clearwell.kafka.log_client import KafkaLog
from clearwell.pipeline.clean import CleanCodec
from clearwell.subscriptions.subscription import Subscription


def open_subscription() -> Subscription:
    """That of the arguments."""
    return Subscription(sys.argv[3], KafkaLog(sys.argv[1]), CleanCodec(schema(sys.argv[2])))


def say() -> None:
    """The first batch is there."""
    sys.stdout.write("got\n")
    sys.stdout.flush()


def raises() -> None:
    """README's loop, and a model with a mistake."""
    for batch in open_subscription():
        say()
        raise ValueError(len(batch.dicts()))


def raises_beside_a_name() -> None:
    """The traceback keeps the frame, which keeps the subscription, until the interpreter ends."""
    events = open_subscription()
    for _batch in events:
        say()
        raise ValueError


def raises_in_with() -> None:
    """In a block."""
    with open_subscription() as events:
        for _batch in events:
            say()
            raise ValueError


def breaks() -> None:
    """With the batch still referenced."""
    globals()["kept"] = next(open_subscription())
    say()


def exits() -> None:
    """By sys.exit, with everything referenced."""
    globals()["kept"] = events = open_subscription()
    globals()["batch"] = next(events)
    say()
    sys.exit(3)


def waits() -> None:
    """At work, until a signal comes."""
    for _batch in open_subscription():
        say()
        time.sleep(60)


def waits_for_more() -> None:
    """Waiting for the next batch, until a signal comes."""
    for _batch in open_subscription():
        say()


def in_a_daemon_thread() -> None:
    """Followed by a thread that never ends; the main one does."""
    got = threading.Event()

    def follow() -> None:
        for _batch in open_subscription():
            got.set()

    threading.Thread(target=follow, daemon=True).start()
    got.wait()
    say()


def in_a_generator() -> None:
    """A generator of the user's that nobody closes."""

    def rows() -> Iterator[dict[str, Any]]:
        for batch in open_subscription():
            yield from batch.dicts()

    globals()["kept"] = generator = rows()
    next(generator)
    say()


def in_a_coroutine() -> None:
    """A task that is cancelled while it waits for more."""

    async def follow() -> None:
        async for _batch in open_subscription():
            say()

    async def main() -> None:
        task = asyncio.create_task(follow())
        await asyncio.sleep(0)
        await asyncio.wait([task], timeout=8)
        task.cancel()

    asyncio.run(main())


def forks() -> None:
    """A child that inherits an open subscription, and opens one of its own."""
    events = open_subscription()
    next(events)
    child = os.fork()
    if not child:
        try:
            next(events)
        except Exception as error:
            own = open_subscription()
            own.close()
            sys.stdout.write(f"{type(error).__name__}\n")
            sys.exit(0)
    _, status = os.waitpid(child, 0)
    next_batch = events._member.partitions  # the parent still follows
    sys.stdout.write(f"child {os.waitstatus_to_exitcode(status)}, {len(next_batch)} partitions\n")
    say()


WAYS: dict[str, Callable[[], None]] = {
    way.__name__: way
    for way in (
        raises, raises_beside_a_name, raises_in_with, breaks, exits, waits, waits_for_more, in_a_daemon_thread,
        in_a_generator, in_a_coroutine, forks,
    )
}  # fmt: skip

if __name__ == "__main__":
    WAYS[sys.argv[4].partition("+")[0]]()
