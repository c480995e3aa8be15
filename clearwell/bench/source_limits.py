"""What the bare client of a source does at most: the same reads, and nothing made of them. Each runs as a process.

`file PATH`: the lines of a file. `postgres_cdc SLOT PUBLICATION COUNT`: the replication stream, thrown away and never
confirmed, so that it can be read again. Both print {"events_per_second": …}. `webhook`: an aiohttp server that answers
at once; it prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from aiohttp import web
from psycopg import pq

from clearwell import settings
from clearwell.errors import ConfigError

INSERT_AT = 25
"""Where the kind of change stands in a message of the stream: behind the header of XLogData."""


def file(path: Path) -> float:
    """Lines a second."""
    count, start = 0, time.perf_counter()
    with path.open("rb") as lines:
        for _ in lines:
            count += 1
    return count / (time.perf_counter() - start)


def postgres_cdc(dsn: str, slot: str, publication: str, total: int) -> float:
    """Inserted rows a second, from the first on."""
    connection = pq.PGconn.connect(f"{dsn}{'&' if '?' in dsn else '?'}replication=database".encode())
    names = f"(proto_version '1', publication_names '\"{publication}\"')"
    started = connection.exec_(f"START_REPLICATION SLOT {slot} LOGICAL 0/0 {names}".encode())
    if started.status != pq.ExecStatus.COPY_BOTH:
        raise ConfigError("The replication slot cannot be read: the bench needs a user with REPLICATION.")
    seen, start = 0, 0.0
    while seen < total:
        size, message = connection.get_copy_data(0)
        if size < 0:
            raise ConfigError("The server ended the replication: is it shutting down?")
        if size > INSERT_AT and message[INSERT_AT] == ord("I"):
            start = start or time.perf_counter()
            seen += 1
    seconds = time.perf_counter() - start
    connection.finish()
    return seen / seconds


async def webhook() -> None:
    """Serve on a free port until standard input ends."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(body=b'{"accepted":1}', content_type="application/json")

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def main() -> None:
    """`python -m clearwell.bench.source_limits file PATH | postgres_cdc SLOT PUBLICATION COUNT | webhook`."""
    kind, *arguments = sys.argv[1:]
    if kind == "webhook":
        asyncio.run(webhook())
    elif kind == "file":
        say(file(Path(arguments[0])))
    else:
        say(postgres_cdc(settings.load().postgres, arguments[0], arguments[1], int(arguments[2])))


def say(rate: float) -> None:
    """Print a rate for who started us."""
    sys.stdout.write(json.dumps({"events_per_second": rate}) + "\n")


if __name__ == "__main__":
    main()
