"""Senders of webhooks, each over one connection that is kept: a request goes out when the last one was answered.

As plain as can be, so that two cores are left for the one who answers: HTTP/1.1 written and read by hand.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence

from clearwell.bench.scene import events
from clearwell.errors import Fatal

VARIABLE = "CLEARWELL_BENCH_SECRET"
"""The environment variable with the secret that signs, as Standard Webhooks has it ("whsec_" and base64)."""

SENDERS = 32
"""Connections at once."""

WARM_UP = 500
"""Requests before the clock starts."""

OK = b"HTTP/1.1 200 "


def requests(path: str, count: int, secret: str) -> Iterator[bytes]:
    """Signed requests of one flight each."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    stamp = str(int(time.time()))
    for number, body in enumerate(events(count)):
        delivery = f"msg_{stamp}_{number}"
        digest = hmac.new(key, f"{delivery}.{stamp}.".encode() + body, hashlib.sha256).digest()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"webhook-id: {delivery}\r\nwebhook-timestamp: {stamp}\r\n"
            f"webhook-signature: v1,{base64.b64encode(digest).decode()}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


async def send(port: int, waiting: Iterator[bytes], waits: list[float]) -> None:
    """Send requests until there are none left; notes the seconds each one took. Raises Fatal when one is refused."""
    reading, writing = await asyncio.open_connection("127.0.0.1", port)
    try:
        for request in waiting:
            start = time.perf_counter()
            writing.write(request)
            head = await reading.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reading.readexactly(int(length or 0))
            waits.append(time.perf_counter() - start)
            if not head.startswith(OK):
                raise Fatal(f"A request was answered with {head.partition(b' ')[2][:3].decode(errors='replace')}.")
    finally:
        writing.close()


async def measure(port: int, prepared: Sequence[bytes]) -> dict[str, float]:
    """Requests a second after a warm-up, and how long they took (ms): the median and the 99th percentile."""

    async def all_of(some: Sequence[bytes]) -> list[float]:
        waits: list[float] = []
        left = iter(some)
        await asyncio.gather(*(send(port, left, waits) for _ in range(SENDERS)))
        return waits

    await all_of(prepared[:WARM_UP])
    start = time.perf_counter()
    waits = sorted(await all_of(prepared[WARM_UP:]))
    seconds = time.perf_counter() - start
    places = {"p50_ms": 0.5, "p99_ms": 0.99}
    percentiles = {name: round(1000 * waits[int(len(waits) * rank)], 1) for name, rank in places.items()}
    return {"events_per_second": len(waits) / seconds, **percentiles}


def main() -> None:
    """`python -m clearwell.bench.senders PORT PATH COUNT`: prints what `measure` found as JSON."""
    port, path, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    prepared = list(requests(path, count + WARM_UP, os.environ[VARIABLE]))
    sys.stdout.write(json.dumps(asyncio.run(measure(port, prepared))) + "\n")


if __name__ == "__main__":
    main()
