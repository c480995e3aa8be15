"""Connections to OpenSearch: only to addresses that were resolved once, and may be reached."""

from __future__ import annotations

import socket
from typing import Any

import urllib3
from opensearchpy import Urllib3HttpConnection
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from clearwell.egress import connect
from clearwell.errors import ClearwellError

CONNECT_SECONDS = 10.0


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


class _Tls(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


def _connected(connection: HTTPConnection) -> socket.socket:
    try:
        sock = connect(connection.host, connection.port or 443, CONNECT_SECONDS)
    except (ClearwellError, OSError) as error:
        raise NewConnectionError(connection, "no address can be reached") from error
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class OpenSearchEgressConnection(Urllib3HttpConnection):
    """For OpenSearch's `connection_class`."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        pool: Any = self.pool
        pool.ConnectionCls = _Tls if isinstance(pool, urllib3.HTTPSConnectionPool) else _Plain
