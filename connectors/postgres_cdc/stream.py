"""The streaming replication protocol on a connection of libpq (psycopg has no cursor for it): slots, data, status."""

from __future__ import annotations

import contextlib
import logging
import select
import time
from struct import Struct
from typing import Any

import psycopg
from psycopg import errors
from psycopg.errors import Diagnostic
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.sql import SQL, Identifier, Literal

from clearwell.deadline import call_seconds
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.source import HEARTBEAT_SECONDS
from connectors.postgres_cdc.decode import lsn_number, lsn_text
from connectors.postgres_cdc.server import Connection, ReplicationServer
from connectors.reader_thread import Every, ReaderThread

log = logging.getLogger(__name__)

STATUS_SECONDS = 5.0
"""So often the server hears of us, whatever happens: without, it ends the connection after wal_sender_timeout."""

TAKEOVER_SECONDS = 10.0
"""For so long we wait for a connection that still holds the slot, such as our own before."""

_STATUS = Struct("!cQQQqB")
_KEEPALIVE = Struct("!QqB")
_EPOCH_2000 = 946_684_800
_READING = "read the replication slot"


class Stream:
    """A replication connection; for one thread."""

    def __init__(self, server: ReplicationServer) -> None:
        """Connects. Raises ConfigError or Retryable."""
        self._server = server
        self._connection: Connection = server.connect(replication=True)
        self._pgconn = self._connection.pgconn
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket, select.POLLIN)
        self._received = self._reported = 0
        self._next_status = 0.0
        self._heard = time.monotonic()
        self._unpublished = False
        self._connection.add_notice_handler(self._hear)
        self.flushed = 0
        """Set it to the place up to which everything is durable: the server may forget what is before it."""

    def create_slot(self, name: str, thread: ReaderThread[Any]) -> tuple[int, str]:
        """Make a slot; its consistent point, and the name of the snapshot of just that moment.

        Waits for the transactions that are under way; `thread` tells when nobody wants it any more. The snapshot lives
        until the next command on this connection.
        """
        query = SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput (SNAPSHOT 'export')").format(Identifier(name))
        with self._server.failures("make a replication slot"):
            self._pgconn.send_query(query.as_bytes(self._connection))
            beat, told = Every(HEARTBEAT_SECONDS / 2), False
            while self._busy():
                try:
                    thread.require_wanted()
                    if beat.due():
                        thread.offer((([], None), 0))
                        if not told:
                            told = True
                            log.warning("a new replication slot waits for the transactions that are under way now")
                except BaseException:
                    self._pgconn.get_cancel().cancel()
                    raise
            results = []
            while (result := self._pgconn.get_result()) is not None:
                results.append(result)
            if results[0].status != ExecStatus.TUPLES_OK:
                raise _error(results[0])
            return lsn_number((results[0].get_value(0, 1) or b"").decode()), (
                results[0].get_value(0, 2) or b""
            ).decode()

    def _busy(self) -> bool:
        self._poll.poll(200)
        self._pgconn.consume_input()
        return bool(self._pgconn.is_busy())

    def start(self, slot: str, publication: str, lsn: int, thread: ReaderThread[Any]) -> None:
        """Begin streaming what committed after `lsn`. Waits a while for a slot that is still in use."""
        names = Literal(Identifier(publication).as_string())  # a list of identifiers, in one text
        query = SQL(
            f"START_REPLICATION SLOT {{}} LOGICAL {lsn_text(lsn)} (proto_version '1', publication_names {{}})"
        ).format(Identifier(slot), names)
        deadline = time.monotonic() + TAKEOVER_SECONDS
        with self._server.failures(_READING):
            while True:
                result = self._pgconn.exec_(query.as_bytes(self._connection))
                if result.status == ExecStatus.COPY_BOTH:
                    break
                if _sqlstate(result) != "55006" or time.monotonic() > deadline:
                    raise _error(result)
                thread.sleep(0.1)
        self._received, self._heard = lsn, time.monotonic()

    def message(self) -> bytes | None:
        """The next message of pgoutput that has come; None when none has, see `wait`."""
        while True:
            size, message = self._pgconn.get_copy_data(1)
            if self._unpublished:
                raise ConfigError(
                    "The publication was dropped, and changes that were made since are lost: reset the connector, so "
                    "that it begins anew with a snapshot."
                )
            if size == 0:
                return None
            if size < 0:
                self._ended()
            if message[0] == 119:  # w: XLogData, with a header of 25 bytes
                return bytes(message[25:])
            if message[0] == 107:  # k: keepalive
                self._received, _, reply = _KEEPALIVE.unpack_from(message, 1)
                if reply:
                    self.tell()

    @property
    def received(self) -> int:
        """Everything that committed before this place has come: the last keepalive said so."""
        return self._received

    def wait(self, seconds: float) -> bool:
        """Wait until something comes; whether it did."""
        if not self._poll.poll(seconds * 1000):
            self._require_heard()
            return False
        self._heard = time.monotonic()
        with self._server.failures(_READING):
            self._pgconn.consume_input()
        return True

    def look_after(self) -> None:
        """Call it often: tells the server what is new, and now and then that we are there."""
        if self.flushed != self._reported or time.monotonic() >= self._next_status:
            self.tell(ask=time.monotonic() - self._heard > STATUS_SECONDS)

    def _require_heard(self) -> None:
        """A server that is there answers each status that asks it to, also where nothing changes (invariant 12)."""
        silent = time.monotonic() - self._heard
        if silent > call_seconds():
            raise Retryable(
                f"{self._server.place} has sent nothing for {silent:.0f} s, not even the answer to a question: does a "
                "firewall or proxy in between drop what is sent?"
            )

    def tell(self, ask: bool = False) -> None:
        """A status: what has come, and what it may forget. With `ask` it answers how far it is."""
        micros = int((time.time() - _EPOCH_2000) * 1_000_000)
        received = max(self._received, self.flushed)
        status = _STATUS.pack(b"r", received, self.flushed, self.flushed, micros, ask)
        with self._server.failures(_READING):
            self._pgconn.put_copy_data(status)
            self._pgconn.flush()
        self._reported = self.flushed
        self._next_status = time.monotonic() + STATUS_SECONDS

    def say_goodbye(self, flushed: int) -> None:
        """Tell what is durable for the last time; when that fails the server tells us more the next time."""
        self.flushed = flushed
        if flushed:
            with contextlib.suppress(ClearwellError):
                self.tell()

    def close(self) -> None:
        """End the connection, whatever state it is in."""
        self._connection.close()

    def _hear(self, notice: Diagnostic) -> None:
        """PostgreSQL 18 warns that it skips a publication that is gone, and goes on; older ones end the stream."""
        self._unpublished = self._unpublished or notice.sqlstate == "55000"

    def _ended(self) -> None:
        """The server has ended the stream: say why."""
        with self._server.failures(_READING):
            result = self._pgconn.get_result()
            if result is not None and result.status == ExecStatus.FATAL_ERROR:
                raise _error(result)
        raise Retryable(f"{self._server.place} ended the replication: is it shutting down?")


def _sqlstate(result: PGresult) -> str:
    return (result.error_field(DiagnosticField.SQLSTATE) or b"08000").decode()


def _error(result: PGresult) -> psycopg.Error:
    try:
        return errors.lookup(_sqlstate(result))()
    except KeyError:
        return psycopg.OperationalError()
