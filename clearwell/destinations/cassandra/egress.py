"""Connections to Cassandra's nodes, which the cluster itself names: only to addresses that may be reached."""

from __future__ import annotations

from typing import Any

from cassandra.cluster import Cluster
from cassandra.connection import ConnectionException

from clearwell.egress import rules

_Connection: Any = Cluster.connection_class


class CassandraEgressConnection(_Connection):  # type: ignore[misc] # the driver has no types
    """For the `connection_class` of a Cluster."""

    def _get_socket_addresses(self) -> list[Any]:
        host = str(self.endpoint.address)
        now = rules()
        addresses = [address for address in super()._get_socket_addresses() if now.allows(host, str(address[-1][0]))]
        if not addresses:
            raise ConnectionException("no address may be reached")
        return addresses
