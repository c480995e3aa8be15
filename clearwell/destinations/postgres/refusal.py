"""The SQLSTATE with which PostgreSQL refuses a connection: libpq passes on only its words, in the server's language.

`lc_messages` can't be chosen for them: a server reads such options after it has let a user in. The code is in the
protocol, though, and libpq's trace of one more attempt shows it. The trace goes to memory and nowhere else: it may hold
a password (invariant 10); only the five characters of the code leave this module.
"""

from __future__ import annotations

import os
import re
import select
import sys
import time

import psycopg
from psycopg import pq

SECONDS = 5.0

_CODE = re.compile(rb'\tErrorResponse\t.*? C "([0-9A-Z]{5})"')

_WAITS = {pq.PollingStatus.READING: select.POLLIN, pq.PollingStatus.WRITING: select.POLLOUT}


def sqlstate_of_refusal(dsn: str) -> str:
    """The SQLSTATE of what a server answers to an attempt to connect; "" when it lets us in or there is no answer.

    Blocks for SECONDS at most, beside looking up the host. Works on Linux alone; elsewhere the answer is "". Ask once a
    failure: psycopg leaves the trace's stream (some 5 kB) to the process.
    """
    if sys.platform != "linux":
        return ""
    trace = os.memfd_create("trace")
    try:
        connection = pq.PGconn.connect_start(dsn.encode())
        try:
            connection.trace(trace)
            _attempt(connection)
            connection.untrace()
        finally:
            connection.finish()
        codes = _CODE.findall(os.pread(trace, 1_000_000, 0))
    except psycopg.Error:
        return ""
    finally:
        os.close(trace)
    return codes[-1].decode() if codes else ""


def _attempt(connection: pq.abc.PGconn) -> None:
    until = time.monotonic() + SECONDS
    while (event := _WAITS.get(pq.PollingStatus(connection.connect_poll()))) and time.monotonic() < until:
        poll = select.poll()
        poll.register(connection.socket, event)
        poll.poll(max(0.0, until - time.monotonic()) * 1000)
